# Shared by the scripts beside it; sourced, never run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Debian's own Python: PyGObject and the librist binding are built against it.
python=/usr/bin/python3

# What a machine needs to run Strata.
run_packages=(
    ca-certificates gcc libc6-dev nftables pkg-config util-linux procps
    python3 python3-dev python3-venv
    libcairo2-dev libgirepository1.0-dev
    gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly gstreamer1.0-x fonts-dejavu-core glib-networking
    librist-dev librist4
    nginx-light libnginx-mod-rtmp
)
# Of these, what a field sender does without; and what it needs besides.
server_packages=(nftables nginx-light libnginx-mod-rtmp)
sender_packages=(gstreamer1.0-alsa)
for package in "${run_packages[@]}"; do
    [[ " ${server_packages[*]} " == *" $package "* ]] || sender_packages+=("$package")
done
# What the tests and the measurements need on top: the peers that Strata is held against.
test_packages=(
    chromium dbus-daemon faketime ffmpeg gir1.2-gst-rtsp-server-1.0 git gstreamer1.0-alsa iproute2
    openssl postgresql rist-tools srt-tools stunnel4 systemd
)

# Installs Debian packages that are missing; does nothing, in milliseconds, when none is.
install_packages() {
    local missing=() package status
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "needs root, or sudo, to install: ${missing[*]}"
        sudo=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    # nginx would start a server of its own: policy-rc.d says no while we install.
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null
        "${sudo[@]}" chmod 755 $policy
        made=1
    fi
    local status=0
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >&2 || status=$?
    [ -z "$made" ] || "${sudo[@]}" rm -f $policy
    [ $status -eq 0 ] || die "apt-get could not install the packages; see above"
}

# Makes .uv hold uv, as requirements/uv.txt pins it.
install_uv() {
    if [ ! -x .uv/bin/uv ] || ! cmp -s requirements/uv.txt .uv/pins; then
        "$python" -m venv --clear .uv
        .uv/bin/pip install -q --disable-pip-version-check --no-warn-script-location \
            --require-hashes -r requirements/uv.txt
        cp requirements/uv.txt .uv/pins
    fi
}

# Makes .venv hold exactly what requirements/$1.txt pins, and Strata itself.
install_python() {
    local pins=requirements/$1.txt stamp=.venv/.pins
    install_uv
    local wanted
    wanted=$(cat "$pins" pyproject.toml setup.py src/strata/rist/_build.py src/strata/rist/inbox.h \
        | sha256sum)
    # The test set holds the run set: what has the one needs not be cut down to the other.
    [ -x .venv/bin/python ] && [ -e "$stamp" ] && grep -qF "$1 $wanted" "$stamp" && return
    say "installing Python packages ($pins)"
    [ -x .venv/bin/python ] || .uv/bin/uv venv -q --python "$python" .venv
    .uv/bin/uv pip sync -q --require-hashes "$pins"
    .uv/bin/uv pip install -q --no-deps --no-build-isolation -e .
    .venv/bin/python -m compileall -q src .venv/lib >/dev/null || true
    {
        printf '%s %s\n' "$1" "$wanted"
        if [ "$1" = test ]; then
            printf 'run %s\n' "$(cat requirements/run.txt pyproject.toml setup.py \
                src/strata/rist/_build.py src/strata/rist/inbox.h | sha256sum)"
        fi
    } >"$stamp"
}

# Tests sleep more than they work: three at a time. Where time is what one measures, its neighbours
# may have been too loud: what failed is tried once more, alone.
run_tests() {
    if ! .venv/bin/pytest -q -n 3 --dist worksteal "$@"; then
        say "once more, alone: what failed"
        .venv/bin/pytest -q --last-failed --last-failed-no-failures none "$@"
    fi
}

# The first start of GStreamer looks at every plugin (two seconds); better now than on the air.
warm_gstreamer() {
    .venv/bin/python -I -c 'import strata.media.gst' 2>/dev/null || die "GStreamer does not load"
}

# A bare Debian 12 in the folder $1.
make_debian() {
    say "debootstrap into $1"
    debootstrap --variant=minbase bookworm "$1" >"$1.log" 2>&1 </dev/null || die "see $1.log"
    rm -f "$1.log"
}

# Lets "${debian[@]}" 'command' run in the Debian of the folder $1. It uses the network as
# this machine does: its name server, proxies, trusted certificates and package mirror settings.
enter_debian() {
    mount -t proc proc "$1/proc"
    mount -t sysfs sys "$1/sys"
    mount --rbind /dev "$1/dev"
    mount --make-rslave "$1/dev"
    cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
    mkdir -p "$1/etc/ssl/certs" "$1/run"
    cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/host-certificates.crt" 2>/dev/null || true
    cp /etc/apt/apt.conf.d/*[Pp]roxy* /etc/apt/apt.conf.d/99* "$1/etc/apt/apt.conf.d/" \
        2>/dev/null || true
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$1/etc/pip.conf"
    debian=(
        env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        LANG=C.UTF-8 SSL_CERT_FILE=/etc/host-certificates.crt
        PIP_CERT=/etc/host-certificates.crt
        ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"}
        chroot "$1" bash -c
    )
}

leave_debian() {
    local mount
    for mount in dev/shm dev/pts dev proc sys; do umount -l "$1/$mount" 2>/dev/null || true; done
}
