/*
 * A program that receives with any room: two ports of net_null on the source's pools, and one thread that polls.
 * Writes how many frames came of each side, how many of these were not fresh ones of their side, and how many buffers
 * it has taken besides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#define SIDES 2
#define BURST 32
#define BUFFERS 1023
#define ROUNDS 3
#define OLD 0xee

static struct rte_mempool *pools[SIDES];
static unsigned long received[SIDES], old, own;

static void need(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "rooms: %s: %s\n", what, rte_strerror(rte_errno));
		exit(1);
	}
}

static void take_own(unsigned side)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(pools[side]);

	need(buffer != NULL, "a buffer of its own");
	memset(rte_pktmbuf_mtod(buffer, uint8_t *), OLD, 60);
	rte_pktmbuf_free(buffer);
	own++;
}

/* Each frame is made old before its buffer goes back. */
static void receive(unsigned side, unsigned room)
{
	struct rte_mbuf *frames[BURST];
	struct rte_ether_addr mac;
	unsigned count = rte_eth_rx_burst(side, 0, frames, room);

	need(!rte_eth_macaddr_get(side, &mac), "the MAC of a port");
	received[side] += count;
	for (unsigned index = 0; index < count; index++) {
		uint8_t *frame = rte_pktmbuf_mtod(frames[index], uint8_t *);

		old += memcmp(frame, mac.addr_bytes, 6) != 0;
		memset(frame, OLD, 60);
	}
	rte_pktmbuf_free_bulk(frames, count);
}

static int poll(void *nothing)
{
	(void)nothing;
	/* All buffers have been used before, so that none is fresh by chance. */
	for (unsigned count = 0; count < 2 * BUFFERS; count += BURST)
		for (unsigned side = 0; side < SIDES; side++)
			receive(side, BURST);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned room = 0; room <= BURST; room++)
			for (unsigned side = 0; side < SIDES; side++) {
				receive(side, room);
				take_own(side);
			}
	return 0;
}

int main(int count, char **words)
{
	static const char *const names[SIDES] = { "vip", "dip" };
	struct rte_eth_conf plain = { 0 };

	need(rte_eal_init(count, words) >= 0, "the EAL");
	for (unsigned side = 0; side < SIDES; side++) {
		pools[side] = rte_pktmbuf_pool_create_by_ops(names[side], BUFFERS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
							     SOCKET_ID_ANY, "traffic_source");
		need(pools[side] != NULL, "a pool");
		need(!rte_eth_dev_configure(side, 1, 1, &plain), "a port");
		need(!rte_eth_rx_queue_setup(side, 0, 64, SOCKET_ID_ANY, NULL, pools[side]), "a queue to receive");
		need(!rte_eth_tx_queue_setup(side, 0, 64, SOCKET_ID_ANY, NULL), "a queue to send");
		need(!rte_eth_dev_start(side), "a port's start");
	}
	need(!rte_eal_remote_launch(poll, NULL, rte_get_next_lcore(-1, 1, 0)), "a second thread");
	rte_eal_mp_wait_lcore();
	printf("%lu %lu %lu %lu\n", received[0], received[1], old, own);
	return 0;
}
