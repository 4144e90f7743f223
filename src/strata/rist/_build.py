"""Compiles ``strata.rist._librist``: librist and the inbox that its threads fill.

Run by setuptools (``cffi_modules`` in setup.py). API mode: the C compiler checks each
declaration against the installed headers.
"""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent

ffi = FFI()
ffi.cdef(
    """
    struct rist_ctx;
    struct rist_peer;
    struct rist_logging_settings;
    struct rist_peer_config {
        int address_family;
        int initiate_conn;
        char address[256];
        char miface[128];
        uint16_t physical_port;
        uint32_t recovery_maxbitrate;
        uint32_t recovery_length_min;
        uint32_t recovery_length_max;
        uint32_t recovery_reorder_buffer;
        uint32_t recovery_rtt_min;
        uint32_t recovery_rtt_max;
        uint32_t weight;
        char secret[128];
        int key_size;
        char cname[128];
        uint32_t min_retries;
        uint32_t max_retries;
        uint32_t session_timeout;
        ...;
    };
    struct rist_data_block { const void *payload; size_t payload_len; ...; };

    int rist_receiver_create(struct rist_ctx **, int profile, struct rist_logging_settings *);
    int rist_sender_create(struct rist_ctx **, int profile, uint32_t flow_id,
                           struct rist_logging_settings *);
    int rist_sender_data_write(struct rist_ctx *, const struct rist_data_block *);
    uint32_t rist_flow_id_create(void);
    int rist_peer_config_defaults_set(struct rist_peer_config *);
    int rist_peer_create(struct rist_ctx *, struct rist_peer **, const struct rist_peer_config *);
    int rist_peer_weight_set(struct rist_ctx *, struct rist_peer *, const uint32_t weight);
    int rist_jitter_max_set(struct rist_ctx *, int);
    int rist_start(struct rist_ctx *);
    int rist_destroy(struct rist_ctx *);
    int rist_logging_settings_free2(struct rist_logging_settings **);
    const char *librist_version(void);

    typedef struct {
        uint64_t packets, bytes;
        int64_t last_packet_ns;
        uint32_t peer_id;
        int32_t peers;
        int64_t connected_ns;
        uint16_t port;
        char peer_address[64];
    } inbox_link;
    typedef struct {
        uint64_t packets, bytes, lost, malformed, overflowed, rejected, flow_changes;
        int64_t last_packet_ns;
        uint32_t flow_id;
        int32_t link_count;
        inbox_link links[...];
    } inbox_counters;
    typedef struct { char *data; size_t size; ...; } inbox_bytes;
    typedef struct { uint64_t offset, missing; int32_t new_flow; } inbox_mark;
    typedef struct { inbox_bytes media; int32_t mark_count; inbox_mark marks[...]; } inbox_batch;
    typedef struct { int timer_fd; ...; } inbox;

    inbox *inbox_new(size_t max_bytes, int batch_ms);
    void inbox_free(inbox *);
    int inbox_add_link(inbox *, uint16_t port);
    int inbox_attach_receiver(inbox *, struct rist_ctx *);
    int inbox_watch_stats(inbox *, struct rist_ctx *, int interval_ms);
    void inbox_silence_globals(void);
    int inbox_make_logging(inbox *, struct rist_logging_settings **, int level);
    inbox_batch *inbox_take(inbox *);
    inbox_bytes *inbox_take_stats(inbox *);
    inbox_bytes *inbox_take_logs(inbox *);
    void inbox_count(inbox *, inbox_counters *);
    """
)
ffi.set_source(
    "strata.rist._librist",
    '#include "inbox.h"\n',
    include_dirs=[str(HERE)],
    libraries=["rist"],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
