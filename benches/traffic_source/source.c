/*
 * A packet source under any DPDK program: mempool operations whose buffers come with a fresh frame in them.
 *
 * net_null's receive takes mbufs from its pool and leaves their data alone; so what the pool hands out is what the
 * program receives. Taking a buffer costs what a driver costs: a line written. Giving it back costs a store. Load it by
 *
 *   -d DIR/libtraffic_source.so --mbuf-pool-ops-name traffic_source --vdev net_null0,size=60 --vdev net_null1,size=60
 *
 * with a mempool cache of 0 (a cache would hand out old frames). A request for a single buffer, unless net_null makes
 * it to receive, counts as the program's own, and gets no frame. One thread polls, and owns the pools.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_spinlock.h>

#include "environment.h"
#include "frames.h"
#include "traffic.h"

#define MOST_BURST 64
/* Which direction a pool serves, by its name; a pool of neither side serves both in turn. */
#define BOTH (-1)

/* In the headroom in front of a frame that is to be checked: what it was. */
struct note {
	uint64_t epoch;
	struct order order;
};

struct pool {
	/* First in, first out, as a NIC's ring: only its owner uses it. */
	void **ring;
	uint32_t mask, head, tail;
	int direction;
	uint32_t data;	/* offset of the frame in a buffer */
	/* What others gave back, and all buffers before there is an owner. */
	rte_spinlock_t lock;
	void **stock;
	uint32_t stocked;
};

static struct page *page;
/* Set in the thread that polls. */
static __thread bool owner __attribute__((tls_model("initial-exec")));
/* While net_null receives in this thread: whatever it takes then is a frame, be it a single one. */
static __thread bool receiving __attribute__((tls_model("initial-exec")));
static eth_rx_burst_t driver_receive;
static bool owned;
static uint64_t until_check;

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "traffic source: %s\n", what);
	exit(1);
}

static void map_page(void)
{
	const char *path = setting_text("TRAFFIC_PAGE");
	int file = open(path, O_RDWR);

	if (file < 0)
		give_up("TRAFFIC_PAGE can't be opened");
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (page == MAP_FAILED)
		give_up("TRAFFIC_PAGE can't be mapped");
	page->version = PAGE_VERSION;
	page->tsc_hz = rte_get_tsc_hz();
	page->magic = PAGE_MAGIC;
}

static uint16_t receive(void *queue, struct rte_mbuf **frames, uint16_t count)
{
	uint16_t received;

	receiving = true;
	received = driver_receive(queue, frames, count);
	receiving = false;
	return received;
}

/* Reads a port's MAC, and is told of its receives from now on. */
static void watch_port(const char *device, uint8_t mac[6])
{
	struct rte_ether_addr address;
	eth_rx_burst_t *burst;
	uint16_t port;

	if (rte_eth_dev_get_port_by_name(device, &port) || rte_eth_macaddr_get(port, &address))
		give_up("there is no net_null0 and net_null1: the vip side has to be the first, the dip side the second");
	memcpy(mac, address.addr_bytes, 6);
	burst = &rte_eth_fp_ops[port].rx_pkt_burst;
	if (driver_receive && *burst != driver_receive)
		give_up("net_null0 and net_null1 are not of one driver, or one is not started");
	driver_receive = *burst;
	*burst = receive;
}

/* The first thread that receives polls from now on, by a burst of more than one. The ports are started by then. */
static void become_owner(void)
{
	uint8_t vip[6], dip[6];

	owner = owned = true;
	watch_port("net_null0", vip);
	watch_port("net_null1", dip);
	frames_set_port_macs(vip, dip);
}

static int source_alloc(struct rte_mempool *mempool)
{
	struct pool *pool = rte_zmalloc(NULL, sizeof(*pool), RTE_CACHE_LINE_SIZE);
	uint32_t slots = rte_align32pow2(mempool->size + 1);

	if (!page) {
		map_page();
		frames_setup();
		traffic_setup(page);
	}
	if (mempool->cache_size)
		give_up("the pool has a cache: set [buffers] cache = 0, or testpmd's --mbcache=0");
	if (!pool)
		return -ENOMEM;
	pool->ring = rte_zmalloc(NULL, slots * sizeof(void *), RTE_CACHE_LINE_SIZE);
	pool->stock = rte_zmalloc(NULL, mempool->size * sizeof(void *), RTE_CACHE_LINE_SIZE);
	if (!pool->ring || !pool->stock)
		return -ENOMEM;
	pool->mask = slots - 1;
	pool->direction = !strncmp(mempool->name, "vip", 3) ? FORWARD : !strncmp(mempool->name, "dip", 3) ? REVERSE : BOTH;
	rte_spinlock_init(&pool->lock);
	mempool->pool_data = pool;
	return 0;
}

static void source_free(struct rte_mempool *mempool)
{
	struct pool *pool = mempool->pool_data;

	rte_free(pool->ring);
	rte_free(pool->stock);
	rte_free(pool);
}

static void keep(struct pool *pool, void *const *buffers, unsigned count)
{
	rte_spinlock_lock(&pool->lock);
	for (unsigned index = 0; index < count; index++)
		pool->stock[pool->stocked++] = buffers[index];
	rte_spinlock_unlock(&pool->lock);
}

static void check(struct pool *pool, void *buffer)
{
	struct note *note = (struct note *)((uint8_t *)buffer + pool->data - LINE);

	/* Once the frame is looked at the note is void: a buffer may come back without having been filled anew. */
	if (note->epoch == page->check_epoch)
		frames_check(page, (uint8_t *)buffer + pool->data, note->order);
	note->epoch = 0;
}

static int source_enqueue(struct rte_mempool *mempool, void *const *buffers, unsigned count)
{
	struct pool *pool = mempool->pool_data;

	if (unlikely(!owner)) {
		keep(pool, buffers, count);
		return 0;
	}
	for (unsigned index = 0; index < count; index++) {
		if (unlikely(page->check_epoch))
			check(pool, buffers[index]);
		pool->ring[pool->tail++ & pool->mask] = buffers[index];
	}
	page->returned += count;
	return 0;
}

/* Moves all that others have given back to the ring. */
static void restock(struct rte_mempool *mempool)
{
	struct pool *pool = mempool->pool_data;

	rte_spinlock_lock(&pool->lock);
	while (pool->stocked)
		pool->ring[pool->tail++ & pool->mask] = pool->stock[--pool->stocked];
	rte_spinlock_unlock(&pool->lock);
	/* Not known before the pool's buffers are made. */
	pool->data = sizeof(struct rte_mbuf) + rte_pktmbuf_priv_size(mempool) + RTE_PKTMBUF_HEADROOM;
}

static int take_plain(struct pool *pool, void **buffers, unsigned count)
{
	int result = -ENOBUFS;

	rte_spinlock_lock(&pool->lock);
	if (pool->stocked >= count) {
		pool->stocked -= count;
		memcpy(buffers, pool->stock + pool->stocked, count * sizeof(void *));
		result = 0;
	}
	rte_spinlock_unlock(&pool->lock);
	return result;
}

static inline bool is_to_be_checked(void)
{
	if (until_check > 1) {
		until_check--;
		return false;
	}
	until_check = page->check_every;
	return true;
}

static int source_dequeue(struct rte_mempool *mempool, void **buffers, unsigned count)
{
	struct pool *pool = mempool->pool_data;
	struct order orders[MOST_BURST];
	enum direction direction;
	bool are_frames;
	uint64_t epoch;

	if (unlikely(!count))
		return 0;
	if (unlikely(!owner)) {
		if (owned || rte_lcore_id() == rte_get_main_lcore() || rte_lcore_id() == LCORE_ID_ANY)
			return take_plain(pool, buffers, count);
		become_owner();
	}
	if (unlikely(pool->tail - pool->head < count)) {
		restock(mempool);
		if (pool->tail - pool->head < count)
			return -ENOBUFS;
	}
	/* Read before packets are chosen: what is verified was wanted when verifying began. */
	epoch = __atomic_load_n(&page->check_epoch, __ATOMIC_ACQUIRE);
	are_frames = receiving || count > 1;
	if (are_frames) {
		if (unlikely(page->hold || count > MOST_BURST))
			return -ENOBUFS;
		direction = pool->direction == BOTH ? traffic_next_direction() : (enum direction)pool->direction;
		/* A pool gives all that is asked for or nothing. */
		if (traffic_next(direction, orders, count) < count)
			return -ENOBUFS;
		page->given[direction] += count;
	} else {
		page->own++;
	}
	for (unsigned index = 0; index < count; index++) {
		uint8_t *buffer = pool->ring[pool->head++ & pool->mask];

		buffers[index] = buffer;
		if (!are_frames)
			break;
		frames_write(buffer + pool->data, orders[index]);
		if (unlikely(epoch) && is_to_be_checked())
			*(struct note *)(buffer + pool->data - LINE) = (struct note){ epoch, orders[index] };
	}
	return 0;
}

static unsigned source_count(const struct rte_mempool *mempool)
{
	const struct pool *pool = mempool->pool_data;

	return pool->tail - pool->head + pool->stocked;
}

static const struct rte_mempool_ops operations = {
	.name = "traffic_source",
	.alloc = source_alloc,
	.free = source_free,
	.enqueue = source_enqueue,
	.dequeue = source_dequeue,
	.get_count = source_count,
};

RTE_MEMPOOL_REGISTER_OPS(operations);
