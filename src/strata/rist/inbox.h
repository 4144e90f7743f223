/*
 * Where librist's threads leave things and Python fetches them.
 *
 * librist calls back from threads of its own: for each packet, each statistics report and
 * each log line. Entering Python there would cost a lock and a frame per packet (see
 * docs/decisions/0001-collector.md). These callbacks only append under a mutex. The first
 * to do so sets a timer, whose descriptor wakes Python when a batch has gathered; without
 * media nothing wakes.
 */
#include <librist/librist.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define INBOX_LINKS 16  /* listening ports of one receiver */
#define INBOX_PEERS 64  /* remote addresses remembered at once; the oldest makes room */
#define INBOX_TEXT_MAX (256 * 1024)
/* Places of a batch where media is missing. A batch of 40 ms at 50 Mbps has 190 packets:
 * more marks than this take a reader that stalls. */
#define INBOX_MARKS 256

/* A flow that has been silent for this long gives way to another. Below the buffer of a
 * normal stream, above the longest gap between two packets of a live one. */
#define FLOW_HANDOVER_NS 300000000LL
/* A jump in the sequence beyond this is a restarted sender, not a loss: 200,000 packets
 * are 7 minutes at 5 Mbps, far more than any recovery buffer holds. */
#define SEQ_RESTART 200000u

typedef struct {
    uint64_t packets, bytes;
    int64_t last_packet_ns;      /* CLOCK_MONOTONIC; 0: never */
    uint32_t peer_id;            /* of peer_address, as librist's reports name it */
    int32_t peers;               /* remote addresses that librist knows there now */
    int64_t connected_ns;        /* since when it has known any */
    uint16_t port;
    char peer_address[64];       /* empty: nobody yet */
} inbox_link;

typedef struct {
    uint64_t packets, bytes;     /* given to Python or waiting for it */
    uint64_t lost;               /* holes in the sequence that were not repaired */
    uint64_t malformed;          /* not whole TS packets: garbage that survived a wrong key */
    uint64_t overflowed;         /* packets dropped because Python did not fetch */
    uint64_t rejected;           /* packets of a second flow while the first was alive */
    uint64_t flow_changes;
    int64_t last_packet_ns;
    uint32_t flow_id;
    int32_t link_count;
    inbox_link links[INBOX_LINKS];
} inbox_counters;

typedef struct {
    char *data;
    size_t size, room;
} inbox_bytes;

typedef struct {
    uint64_t offset;             /* bytes of the batch before this place */
    uint64_t missing;            /* packets that should have been here */
    int32_t new_flow;            /* what follows belongs to another timeline */
} inbox_mark;

typedef struct {
    inbox_bytes media;
    int32_t mark_count;
    inbox_mark marks[INBOX_MARKS]; /* offsets rise, each once */
} inbox_batch;

typedef struct { struct rist_peer *peer; int link; } inbox_peer;

typedef struct inbox {
    pthread_mutex_t lock;
    int timer_fd;
    int is_set;                  /* the timer runs, or has run out and was not yet seen */
    int64_t batch_ns;
    size_t max_bytes;
    inbox_batch batches[2];      /* librist writes the one, Python reads the other */
    int filling;                 /* index of the one that librist writes */
    inbox_bytes stats, stats_taken;
    inbox_bytes logs, logs_taken;
    uint64_t last_seq;
    int have_seq;
    inbox_peer peers[INBOX_PEERS];
    uint32_t connects;
    int next_peer;
    inbox_counters counters;
    uint8_t continuity[8192];    /* by PID: the last counter */
    int hole_told;               /* in the batch that is being filled */
} inbox;

#define UNKNOWN 0xFF

static int64_t inbox_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Appends, growing by doubling up to max. Returns 0 when it does not fit. */
static int inbox_append(inbox_bytes *b, const void *data, size_t size, size_t max) {
    if (b->size + size > max) return 0;
    if (b->size + size > b->room) {
        size_t room = b->room ? b->room : 32768;
        while (room < b->size + size) room *= 2;
        char *grown = realloc(b->data, room);
        if (!grown) return 0;
        b->data = grown;
        b->room = room;
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return 1;
}

/* Under the lock: says what is wrong right here, at the end of what has been gathered. */
static void inbox_mark_at(inbox *in, size_t offset, uint64_t missing, int new_flow) {
    inbox_batch *b = &in->batches[in->filling];
    inbox_mark *last = b->mark_count ? &b->marks[b->mark_count - 1] : NULL;
    if (!last || (last->offset != offset && b->mark_count < INBOX_MARKS)) {
        last = &b->marks[b->mark_count++];
        *last = (inbox_mark){.offset = offset};
    }
    last->missing += missing;
    last->new_flow |= new_flow;
}

static void inbox_mark_here(inbox *in, uint64_t missing, int new_flow) {
    inbox_mark_at(in, in->batches[in->filling].media.size, missing, new_flow);
}

/* Under the lock: wake Python once, when a batch has gathered. */
static void inbox_signal(inbox *in) {
    if (in->is_set) return;
    in->is_set = 1;
    struct itimerspec once = {
        .it_value = {in->batch_ns / 1000000000LL, in->batch_ns % 1000000000LL}};
    timerfd_settime(in->timer_fd, 0, &once, NULL);
}

static void inbox_free(inbox *in) {
    if (!in) return;
    inbox_bytes *all[] = {&in->batches[0].media, &in->batches[1].media, &in->stats, &in->stats_taken,
                          &in->logs, &in->logs_taken};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->data);
    close(in->timer_fd);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

static inbox *inbox_new(size_t max_bytes, int batch_ms) {
    inbox *in = calloc(1, sizeof *in);
    if (!in) return NULL;
    in->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (in->timer_fd < 0) { free(in); return NULL; }
    in->batch_ns = batch_ms > 0 ? batch_ms * 1000000LL : 1; /* 0 would switch the timer off */
    pthread_mutex_init(&in->lock, NULL);
    in->max_bytes = max_bytes;
    return in;
}

static int inbox_add_link(inbox *in, uint16_t port) {
    if (in->counters.link_count >= INBOX_LINKS) return -1;
    in->counters.links[in->counters.link_count++].port = port;
    return 0;
}

/* Lost packets between two sequence numbers. The Main profile counts in 32 bits, a sender
 * that bridges plain RTP in 16: a step that is absurd in 32 bits is taken in 16, and one that
 * is a step back there (what came too late for a buffer that had run empty) is no loss. More
 * than SEQ_RESTART: the two have nothing to do with each other. */
static uint32_t inbox_gap(uint64_t last, uint64_t seq) {
    uint32_t gap = (uint32_t)(seq - last - 1);
    if (gap <= 0x7fffffffu || last > 0xffff || seq > 0xffff) return gap;
    uint16_t step = (uint16_t)(seq - last - 1);
    return step > 0x7fff ? SEQ_RESTART + 1 : step;
}

/* A wrong key decrypts to garbage of which librist lets a quarter pass (it looks at two
 * bits). Only whole transport-stream packets go on, so garbage can neither be put out nor
 * become the flow that we follow. */
static int inbox_is_ts(const struct rist_data_block *block) {
    const uint8_t *p = block->payload;
    if (!block->payload_len || block->payload_len % 188) return 0;
    for (size_t i = 0; i < block->payload_len; i += 188)
        if (p[i] != 0x47) return 0;
    return 1;
}

/* As root librist makes the thread that puts out a flow SCHED_RR 99, when the flow begins:
 * one stream could starve the machine. Called on that thread, once. */
static void inbox_calm_thread(void) {
    static __thread int calm;
    if (calm) return;
    calm = 1;
    pthread_setschedparam(pthread_self(), SCHED_OTHER, &(struct sched_param){0});
}

/* Packets can be missing before they reach the RIST sender; then only the continuity counters
 * tell (ISO/IEC 13818-1 section 2.4.3.3). Told once a batch: a stream of noise has thousands. */
static void inbox_look_for_holes(inbox *in, size_t begin, const uint8_t *p, size_t size) {
    for (size_t at = 0; at < size; at += 188, p += 188) {
        unsigned pid = (p[1] & 0x1Fu) << 8 | p[2];
        if (pid == 0x1FFF || !(p[3] & 0x10)) continue; /* only a payload counts */
        uint8_t before = in->continuity[pid], counter = p[3] & 0x0F;
        in->continuity[pid] = counter;
        if (before == UNKNOWN || counter == before || counter == ((before + 1) & 0x0F)) continue;
        if (p[3] & 0x20 && p[4] > 0 && p[5] & 0x80) continue; /* the sender says so itself */
        if (in->hole_told) continue;
        in->hole_told = 1;
        inbox_mark_at(in, begin + at, 0, 0);
    }
}

static int inbox_on_data(void *arg, struct rist_data_block *block) {
    inbox_calm_thread();
    inbox *in = arg;
    int64_t now = inbox_now();
    pthread_mutex_lock(&in->lock);
    inbox_counters *c = &in->counters;
    int accepted = 1;
    if (!inbox_is_ts(block)) {
        accepted = 0;
        c->malformed++;
    } else if (!c->packets) {
        c->flow_id = block->flow_id;
    } else if (block->flow_id != c->flow_id) {
        /* A restarted encoder comes as a second flow while the old one drains: mixing the
         * two would weave two timelines into one. */
        if (now - c->last_packet_ns < FLOW_HANDOVER_NS) {
            accepted = 0;
            c->rejected++;
        } else {
            c->flow_id = block->flow_id;
            c->flow_changes++;
            in->have_seq = 0;
            inbox_mark_here(in, 0, 1);
        }
    }
    if (accepted) {
        uint32_t gap = in->have_seq ? inbox_gap(in->last_seq, block->seq) : 0;
        if (gap > SEQ_RESTART) {
            inbox_mark_here(in, 0, 1);
        } else if (gap) {
            c->lost += gap;
            inbox_mark_here(in, gap, 0);
        }
        if (gap || !in->have_seq) memset(in->continuity, UNKNOWN, sizeof in->continuity);
        in->last_seq = block->seq;
        in->have_seq = 1;
        c->packets++;
        c->bytes += block->payload_len;
        c->last_packet_ns = now;
        for (int i = 0; i < INBOX_PEERS; i++) {
            if (in->peers[i].peer == block->peer && block->peer) {
                inbox_link *link = &c->links[in->peers[i].link];
                link->packets++;
                link->bytes += block->payload_len;
                link->last_packet_ns = now;
                break;
            }
        }
        inbox_bytes *media = &in->batches[in->filling].media;
        size_t begin = media->size;
        if (inbox_append(media, block->payload, block->payload_len, in->max_bytes)) {
            inbox_look_for_holes(in, begin, block->payload, block->payload_len);
        } else {
            c->overflowed++;
            inbox_mark_here(in, 1, 0);
            memset(in->continuity, UNKNOWN, sizeof in->continuity);
        }
        inbox_signal(in);
    }
    pthread_mutex_unlock(&in->lock);
    rist_receiver_data_block_free2(&block);
    return 0;
}

static void inbox_forget(inbox *in, inbox_peer *known) {
    if (known->peer) in->counters.links[known->link].peers--;
    known->peer = NULL;
}

/* librist calls this for each new remote address, after the packet could be decrypted. */
static int inbox_on_connect(void *arg, const char *address, uint16_t port,
                            const char *local_address, uint16_t local_port,
                            struct rist_peer *peer) {
    inbox *in = arg;
    (void)local_address;
    (void)port; /* librist 0.2.7 gives a number that is not the sender's */
    pthread_mutex_lock(&in->lock);
    /* librist numbers its peers from 1 as it makes them: first ours, one a port, then each
     * that connects, and it makes none without calling here. */
    in->connects++;
    for (int i = 0; i < in->counters.link_count; i++) {
        inbox_link *link = &in->counters.links[i];
        if (link->port != local_port) continue;
        strncpy(link->peer_address, address ? address : "", sizeof link->peer_address - 1);
        link->peer_id = (uint32_t)in->counters.link_count + in->connects;
        inbox_forget(in, &in->peers[in->next_peer]);
        in->peers[in->next_peer] = (inbox_peer){peer, i};
        if (!link->peers++) link->connected_ns = inbox_now();
        in->next_peer = (in->next_peer + 1) % INBOX_PEERS;
    }
    pthread_mutex_unlock(&in->lock);
    return 0;
}

static int inbox_on_disconnect(void *arg, struct rist_peer *peer) {
    inbox *in = arg;
    pthread_mutex_lock(&in->lock);
    for (int i = 0; i < INBOX_PEERS; i++)
        if (in->peers[i].peer == peer) inbox_forget(in, &in->peers[i]);
    pthread_mutex_unlock(&in->lock);
    return 0;
}

static int inbox_on_stats(void *arg, const struct rist_stats *stats) {
    inbox *in = arg;
    pthread_mutex_lock(&in->lock);
    if (inbox_append(&in->stats, stats->stats_json, stats->json_size, INBOX_TEXT_MAX))
        inbox_append(&in->stats, "\n", 1, INBOX_TEXT_MAX + 1);
    inbox_signal(in);
    pthread_mutex_unlock(&in->lock);
    rist_stats_free(stats);
    return 0;
}

static int inbox_on_log(void *arg, enum rist_log_level level, const char *message) {
    inbox *in = arg;
    char digit = level >= 0 && level <= 9 ? (char)('0' + level) : '7';
    size_t size = strlen(message);
    pthread_mutex_lock(&in->lock);
    if (in->logs.size + size + 2 <= INBOX_TEXT_MAX) {
        inbox_append(&in->logs, &digit, 1, INBOX_TEXT_MAX);
        inbox_append(&in->logs, message, size, INBOX_TEXT_MAX);
        if (!size || message[size - 1] != '\n') inbox_append(&in->logs, "\n", 1, INBOX_TEXT_MAX);
    }
    inbox_signal(in);
    pthread_mutex_unlock(&in->lock);
    return 0;
}

static int inbox_attach_receiver(inbox *in, struct rist_ctx *ctx) {
    if (rist_receiver_set_output_fifo_size(ctx, 0)) return -1;
    if (rist_receiver_data_callback_set2(ctx, inbox_on_data, in)) return -1;
    return rist_auth_handler_set(ctx, inbox_on_connect, inbox_on_disconnect, in);
}

static int inbox_watch_stats(inbox *in, struct rist_ctx *ctx, int interval_ms) {
    return rist_stats_callback_set(ctx, interval_ms, inbox_on_stats, in);
}

/* librist copies the first settings that it sees into process-wide ones and keeps their
 * callback for ever: give it silent ones of our own, so that an inbox can be freed. */
static void inbox_silence_globals(void) {
    struct rist_logging_settings none = LOGGING_SETTINGS_INITIALIZER;
    rist_logging_set_global(&none);
}

static int inbox_make_logging(inbox *in, struct rist_logging_settings **settings, int level) {
    return rist_logging_set(settings, level, inbox_on_log, in, NULL, NULL);
}

static inbox_bytes *inbox_swap(inbox *in, inbox_bytes *filling, inbox_bytes *taken) {
    pthread_mutex_lock(&in->lock);
    inbox_bytes full = *filling;
    *filling = *taken;
    filling->size = 0;
    *taken = full;
    pthread_mutex_unlock(&in->lock);
    return taken;
}

/* The media since the last call, valid until the next one. Makes the descriptor quiet. */
static inbox_batch *inbox_take(inbox *in) {
    uint64_t count;
    pthread_mutex_lock(&in->lock);
    if (read(in->timer_fd, &count, sizeof count) < 0) { /* it has not run out yet */ }
    in->is_set = 0;
    inbox_batch *full = &in->batches[in->filling];
    in->filling = !in->filling;
    in->batches[in->filling].media.size = 0;
    in->batches[in->filling].mark_count = 0;
    in->hole_told = 0;
    pthread_mutex_unlock(&in->lock);
    return full;
}

static inbox_bytes *inbox_take_stats(inbox *in) {
    return inbox_swap(in, &in->stats, &in->stats_taken);
}

static inbox_bytes *inbox_take_logs(inbox *in) {
    return inbox_swap(in, &in->logs, &in->logs_taken);
}

static void inbox_count(inbox *in, inbox_counters *out) {
    pthread_mutex_lock(&in->lock);
    *out = in->counters;
    pthread_mutex_unlock(&in->lock);
}
