/* Frames: which flow is which client, service and real, and the bytes of its packets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "page.h"

enum direction { FORWARD, REVERSE };
enum family { IPV4, IPV6, FAMILIES };
enum kind { DATA, SYN, SYN_ACK, ACK, FIN, KINDS };
enum protocols { PROTOCOLS_MIX, PROTOCOLS_UDP, PROTOCOLS_TCP };

/*
 * The bytes of a frame that are written and looked at: a cache line, or two where there is IPv6. Past them is nothing
 * but zeros.
 */
#define LINE 64
#define MOST_WRITTEN (2 * LINE)
/* A client address has its ports from here up. */
#define FIRST_CLIENT_PORT 1024u
/* Client addresses in use, a power of two: flow f is address f % 65536, port 1024 + f / 65536. */
#define CLIENT_BITS 16
#define MOST_FLOWS ((uint64_t)(65536 - FIRST_CLIENT_PORT) << CLIENT_BITS)
/* Of each protocol. A power of two. */
#define MOST_SERVICES 256

/* One packet to be made. */
struct order {
	uint32_t flow;
	uint8_t direction;	/* enum direction */
	uint8_t kind;		/* enum kind, of a TCP packet */
	uint8_t size;		/* index in the list of sizes */
	uint8_t family;		/* enum family; IPV6 only where there are both */
};

/* Reads what is set in the environment. Exits with a message on what makes no sense. */
void frames_setup(void);

/* The destination MACs of forward and reverse frames: those of the ports they arrive on. */
void frames_set_port_macs(const uint8_t vip[6], const uint8_t dip[6]);

/* How many entries the list of sizes has; an index is drawn uniformly. */
extern unsigned sizes;

/* Whether there are flows of both families: as many of IPv6 as of IPv4. Else all are of IPv4. */
extern bool both_families;

/* Writes the frame's first line, or its first two where there are both families. */
void frames_write(uint8_t *frame, struct order order);

/* Compares what came back with what must have been made of the order, and counts in the page. */
void frames_check(struct page *page, const uint8_t *frame, struct order order);
