"""Another release of Strata, installed beside the one that is tested."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import strata
from support.children import output_of


async def install(folder: Path, version: str) -> Path:
    """The interpreter of an environment that holds this release under another version.

    Its ``strata`` is a copy, compiled modules included; what that needs is shared with the
    environment of the tests.
    """
    await output_of(sys.executable, "-I", "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    said = await output_of(
        python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
    )
    packages = Path(said.strip())
    [source] = strata.__path__
    copy = packages / "strata"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    own, other = (f'__version__ = "{each}"' for each in (strata.__version__, version))
    module = copy / "__init__.py"
    text = module.read_text()
    assert text.count(own) == 1
    module.write_text(text.replace(own, other))
    # Read after the folder that it lies in; what it names is not read for more such files.
    shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in shared))
    found = await output_of(
        python, "-I", "-c", "import strata; print(strata.__version__, *strata.__path__)"
    )
    assert found.split() == [version, str(copy)]
    return python
