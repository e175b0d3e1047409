/* DPDK's hash table, with the feature `hash` only. */
#ifndef NATLB_HASH_H
#define NATLB_HASH_H

#include <stdint.h>

#include <rte_hash.h>

/* A table for one thread, with DPDK's own choice of hash function. NULL: rte_errno says why. */
struct rte_hash *natlb_hash_create(const char *name, uint32_t entries, uint32_t key_length);

#endif
