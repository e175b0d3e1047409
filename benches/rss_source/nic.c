/*
 * A simulated NIC with receive-side scaling (RSS) under any DPDK program: net_null's ports, with bursts of this file's.
 * Load it by LD_PRELOAD. It replaces public API, and asks the port for all that it needs to know of it:
 *
 *   rte_eth_dev_info_get     another driver's name, and a hash key that can be set
 *   rte_eth_dev_configure    hands the key on to net_null, which keeps it and the redirection table
 *   rte_eth_rx_queue_setup   notes the pool
 *   rte_eth_dev_start        puts the bursts below in the place of net_null's
 *
 * A queue delivers only frames of flows that the port's key and table lead to it, by DPDK's own rte_softrss over the
 * fields of the frame. Each queue writes memory of its own: net_null's counters of neighbouring queues share cache
 * lines, and with them nothing scales. Vip and dip side are net_null0 and net_null1; flows are traffic_source's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_spinlock.h>

#include "environment.h"
#include "frames.h"
#include "spread.h"

/* In front of libethdev. */
#define EXPORTED __attribute__((visibility("default")))
#define MOST_QUEUES 16
#define MOST_BURST 64
#define FRAME_BYTES 60
/* Processors fetch lines in pairs. */
#define APART (2 * RTE_CACHE_LINE_SIZE)
/* Every flow opens (TCP: SYN) and is established (ACK) so many times, in one burst of so many turns: where packets are
 * handed over, a ring that is full drops them. */
#define WARM_PASSES 3
#define WARM_TURNS 8

/* In the headroom in front of a frame that is to be checked: what it was. */
struct note {
	uint64_t epoch;
	struct order order;
};

/* What both ports' queues with the same number share: one thread polls them. */
struct source {
	struct page *page;
	uint64_t random, warmed, until_check;
	/* The stretch under way: turns, and when and with how many frames it began. */
	uint64_t turns, began, given;
	bool all_warm;
} __rte_aligned(APART);

struct queue {
	struct source *source;
	struct rte_mempool *pool;
	uint32_t *flows;
	uint32_t count;
	uint16_t port, number;
	bool ready;
} __rte_aligned(APART);

static struct source sources[MOST_QUEUES];
/* By direction: the vip side's port, then the dip side's. */
static struct queue queues[2][MOST_QUEUES];
static void *queue_data[2][MOST_QUEUES];
static uint16_t queue_count[2];
static uint64_t flow_count;
static rte_spinlock_t preparing = RTE_SPINLOCK_INITIALIZER;
static bool macs_known;

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "rss source: %s\n", what);
	exit(1);
}

static void *next(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		give_up(name);
	return found;
}

static uint16_t port_of(enum direction direction)
{
	uint16_t port;

	if (rte_eth_dev_get_port_by_name(direction == FORWARD ? "net_null0" : "net_null1", &port))
		give_up("there is no net_null0 and net_null1: the vip side, then the dip side");
	return port;
}

static bool is_ours(uint16_t port, enum direction *direction)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	if (rte_eth_dev_get_name_by_port(port, name))
		return false;
	*direction = !strcmp(name, "net_null1");
	return *direction || !strcmp(name, "net_null0");
}

/* One page a source, each in a file of its own. */
static struct page *map_page(uint16_t number)
{
	char path[4096];
	struct page *page;
	int file;

	snprintf(path, sizeof(path), "%s.%u", setting_text("TRAFFIC_PAGE"), number);
	file = open(path, O_RDWR);
	if (file < 0)
		give_up("a page can't be opened");
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (page == MAP_FAILED)
		give_up("a page can't be mapped");
	return page;
}

static void know_macs(void)
{
	struct rte_ether_addr vip, dip;

	if (rte_eth_macaddr_get(port_of(FORWARD), &vip) || rte_eth_macaddr_get(port_of(REVERSE), &dip))
		give_up("a port has no MAC");
	frames_set_port_macs(vip.addr_bytes, dip.addr_bytes);
}

/* By the thread that polls, at its first turn: the ports' keys and tables are set by then. */
static void prepare(struct queue *queue, enum direction direction)
{
	struct source *source = queue->source;

	rte_spinlock_lock(&preparing);
	if (!macs_known)
		know_macs();
	macs_known = true;
	rte_spinlock_unlock(&preparing);

	queue->flows = rte_malloc(NULL, flow_count * sizeof(uint32_t), APART);
	if (!queue->flows)
		give_up("no memory for the flows");
	queue->count = spread_flows(queue->port, direction, queue_count[direction], queue->number, flow_count, queue->flows);
	if (!queue->count)
		give_up("a queue has no flows");
	if (!source->page) {
		source->page = map_page(queue->number);
		source->random = 2 * queue->number + 1;
		source->page->thread = (uint64_t)gettid();
		source->page->version = PAGE_VERSION;
		source->page->tsc_hz = rte_get_tsc_hz();
		source->page->magic = PAGE_MAGIC;
	}
	source->page->flows[direction] = queue->count;
	queue->ready = true;
}

static inline uint32_t random_below(struct source *source, uint32_t bound)
{
	source->random = source->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(((source->random >> 32) * bound) >> 32);
}

/* Replies begin when every queue has shown its flows. */
static bool all_warm(struct source *source)
{
	if (likely(source->all_warm))
		return true;
	for (uint16_t number = 0; number < queue_count[FORWARD]; number++) {
		const struct page *page = sources[number].page;

		if (!page || !page->warm)
			return false;
	}
	return source->all_warm = true;
}

static struct order warm_up(struct source *source, const struct queue *queue)
{
	uint64_t pass = source->warmed / queue->count;
	struct order order = {
		.flow = queue->flows[source->warmed % queue->count],
		.direction = FORWARD,
		.kind = pass & 1 ? ACK : SYN,
		.size = 0,
	};

	source->warmed++;
	source->page->warm = source->warmed >= (uint64_t)2 * WARM_PASSES * queue->count;
	return order;
}

static bool is_to_be_checked(struct source *source)
{
	if (source->until_check > 1) {
		source->until_check--;
		return false;
	}
	source->until_check = source->page->check_every;
	return true;
}

/* Times stretches of turns: their median knows nothing of interrupts, and of threads that take the core. */
static void end_stretch(struct source *source)
{
	struct page *page = source->page;
	uint64_t now = rte_rdtsc(), given = page->given[FORWARD] + page->given[REVERSE];

	if (given > source->given)
		page->stretch[page->stretches++ % PAGE_STRETCHES] =
			(uint32_t)RTE_MIN(256 * (now - source->began) / (given - source->given), UINT32_MAX);
	source->began = now;
	source->given = given;
}

static inline uint16_t receive(struct queue *queue, struct rte_mbuf **frames, uint16_t count, enum direction direction)
{
	struct source *source = queue->source;
	bool checking;

	if (unlikely(!queue->ready))
		prepare(queue, direction);
	if (direction == FORWARD && unlikely(++source->turns % PAGE_TURNS == 0))
		end_stretch(source);
	if (unlikely(source->page->hold || count > MOST_BURST))
		return 0;
	if (unlikely(!all_warm(source)) &&
	    (direction == REVERSE || source->page->warm || source->turns % WARM_TURNS))
		return 0;
	if (unlikely(rte_pktmbuf_alloc_bulk(queue->pool, frames, count)))
		return 0;
	checking = source->page->check_epoch != 0;
	for (uint16_t index = 0; index < count; index++) {
		struct rte_mbuf *frame = frames[index];
		struct order order = { queue->flows[random_below(source, queue->count)], (uint8_t)direction, DATA, 0, IPV4 };

		if (unlikely(!source->page->warm))
			order = warm_up(source, queue);
		frames_write(rte_pktmbuf_mtod(frame, uint8_t *), order);
		frame->data_len = FRAME_BYTES;
		frame->pkt_len = FRAME_BYTES;
		frame->port = queue->port;
		/* The note of another time is void: whoever sent the frame may not have looked. */
		if (unlikely(checking))
			*rte_pktmbuf_mtod_offset(frame, struct note *, -LINE) =
				(struct note){ is_to_be_checked(source) ? source->page->check_epoch : 0, order };
	}
	source->page->given[direction] += count;
	return count;
}

static uint16_t receive_from_clients(void *queue, struct rte_mbuf **frames, uint16_t count)
{
	return receive(queue, frames, count, FORWARD);
}

static uint16_t receive_from_reals(void *queue, struct rte_mbuf **frames, uint16_t count)
{
	return receive(queue, frames, count, REVERSE);
}

static void check(struct page *page, struct rte_mbuf *frame)
{
	struct note *note = rte_pktmbuf_mtod_offset(frame, struct note *, -LINE);

	if (rte_pktmbuf_headroom(frame) != RTE_PKTMBUF_HEADROOM)
		return;
	if (note->epoch == page->check_epoch)
		frames_check(page, rte_pktmbuf_mtod(frame, uint8_t *), note->order);
	note->epoch = 0;
}

static uint16_t transmit(void *data, struct rte_mbuf **frames, uint16_t count)
{
	struct queue *queue = data;
	struct page *page = queue->source->page;

	/* Frames of the program's own may come before anything was received. */
	if (likely(page != NULL)) {
		if (unlikely(page->check_epoch))
			for (uint16_t index = 0; index < count; index++)
				check(page, frames[index]);
		page->returned += count;
	}
	rte_pktmbuf_free_bulk(frames, count);
	return count;
}

EXPORTED int rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info)
{
	static int (*real)(uint16_t, struct rte_eth_dev_info *);
	enum direction direction;
	int error;

	if (!real)
		*(void **)&real = next("rte_eth_dev_info_get");
	error = real(port, info);
	if (!error && is_ours(port, &direction)) {
		info->driver_name = "net_rss_source";
		info->hash_key_size = KEY_BYTES;
		info->max_rx_queues = info->max_tx_queues = MOST_QUEUES;
	}
	return error;
}

EXPORTED int rte_eth_dev_configure(uint16_t port, uint16_t rx, uint16_t tx, const struct rte_eth_conf *conf)
{
	static int (*real)(uint16_t, uint16_t, uint16_t, const struct rte_eth_conf *);
	struct rte_eth_rss_conf rss = conf->rx_adv_conf.rss_conf;
	enum direction direction;
	int error;

	if (!real)
		*(void **)&real = next("rte_eth_dev_configure");
	error = real(port, rx, tx, conf);
	if (error || !is_ours(port, &direction))
		return error;
	queue_count[direction] = rx;
	if (rx > MOST_QUEUES || tx > MOST_QUEUES || rx != tx)
		give_up("expected as many queues to transmit as to receive");
	/* net_null takes a key by this call alone. */
	if (conf->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG && rss.rss_key)
		return rte_eth_dev_rss_hash_update(port, &rss);
	return 0;
}

EXPORTED int rte_eth_rx_queue_setup(uint16_t port, uint16_t number, uint16_t slots, unsigned int socket,
				    const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	static int (*real)(uint16_t, uint16_t, uint16_t, unsigned int, const struct rte_eth_rxconf *, struct rte_mempool *);
	enum direction direction;

	if (!real)
		*(void **)&real = next("rte_eth_rx_queue_setup");
	if (is_ours(port, &direction) && number < MOST_QUEUES) {
		struct queue *queue = &queues[direction][number];

		*queue = (struct queue){ .source = &sources[number], .pool = pool, .port = port, .number = number };
		queue_data[direction][number] = queue;
	}
	return real(port, number, slots, socket, conf, pool);
}

EXPORTED int rte_eth_dev_start(uint16_t port)
{
	static int (*real)(uint16_t);
	enum direction direction;
	int error;

	if (!real)
		*(void **)&real = next("rte_eth_dev_start");
	error = real(port);
	if (error || !is_ours(port, &direction))
		return error;
	if (!flow_count) {
		frames_setup();
		/* Its queues know IPv4's fields alone, and its frames are of one line. */
		if (both_families)
			give_up("TRAFFIC_FAMILIES: expected ipv4");
		flow_count = setting_number("TRAFFIC_FLOWS", 1000, 1, MOST_SPREAD_FLOWS);
	}
	/* DPDK puts an answer of its own there when the port stops. */
	rte_eth_fp_ops[port].rxq.data = queue_data[direction];
	rte_eth_fp_ops[port].txq.data = queue_data[direction];
	rte_eth_fp_ops[port].rx_pkt_burst = direction == FORWARD ? receive_from_clients : receive_from_reals;
	rte_eth_fp_ops[port].tx_pkt_burst = transmit;
	return 0;
}
