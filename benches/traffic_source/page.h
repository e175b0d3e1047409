/*
 * The page that a running source shares with the program that measures: a file mapped by both. All numbers are
 * 64-bit, native byte order. `benches/perf/page.py` names the same words.
 */
#pragma once

#include <stdint.h>

#define PAGE_MAGIC 0x6e61746c62736f75ull
#define PAGE_VERSION 2
#define PAGE_FRAME 128
/* Stretches that are remembered, and turns of the polling thread in one. */
#define PAGE_STRETCHES 512
#define PAGE_TURNS 128

/* Which packets come from a source that has flows of both address families. */
enum families { IPV4_ALONE, IPV6_ALONE, HALF_AND_HALF, ALTERNATING };

/* Why a returned frame is not what the balancer should have made of it. */
enum fault {
	FAULT_MAC,
	FAULT_TTL,		/* of IPv6: the hop limit */
	FAULT_CLIENT,		/* the client's address or port */
	FAULT_ENDPOINT,		/* the service's or the real's */
	FAULT_HEADER_CHECKSUM,
	FAULT_TRANSPORT_CHECKSUM,
	FAULT_OTHER,		/* any other byte of the frame */
	FAULTS
};

struct page {
	uint64_t magic;
	uint64_t version;
	uint64_t tsc_hz;
	uint64_t thread;	/* that polls, where several do */
	uint64_t flows[2];	/* forward and reverse, of a source that has a part of them */
	uint64_t stretches;	/* that were timed; where they are */
	uint64_t reserved;

	/* Written by the measuring program. */
	uint64_t check_epoch;	/* 0: do not check; another number than last time: check from now on */
	uint64_t check_every;	/* one frame in so many */
	uint64_t hold;		/* not 0: hand out nothing */
	uint64_t new_rate;	/* new connections a second among uniform traffic */
	uint64_t families;	/* enum families: of the packets of a source that has flows of both */
	uint64_t wanted[3];

	/* Written by the polling thread. */
	uint64_t given[2];	/* frames handed out, forward and reverse, the warm-up's included */
	uint64_t returned;	/* buffers taken back */
	uint64_t warm;		/* not 0: the warm-up is over */
	uint64_t connections;	/* begun, where the traffic opens connections */
	uint64_t own;		/* single buffers taken: for frames of the program's own */
	uint64_t checked_ipv6;	/* those of `checked` that are of IPv6 */
	uint64_t counts[1];

	uint64_t checked;	/* frames verified */
	uint64_t untouched;	/* came back as they were given: dropped, not sent */
	uint64_t answered;	/* turned into an answer to their sender */
	uint64_t faults[FAULTS];
	uint64_t faulty;	/* frames with any fault */

	/* The first faulty frame. */
	uint64_t example_flow;
	uint64_t example_direction;
	uint8_t example_given[PAGE_FRAME];
	uint8_t example_found[PAGE_FRAME];

	/* Cycles of the time stamp counter for a frame handed out, as a fraction of 256: the last stretches. */
	uint32_t stretch[PAGE_STRETCHES];
};
