#include "hash.h"

struct rte_hash *natlb_hash_create(const char *name, uint32_t entries, uint32_t key_length)
{
	struct rte_hash_parameters parameters = {
		.name = name,
		.entries = entries,
		.key_len = key_length,
		.socket_id = -1,
	};

	return rte_hash_create(&parameters);
}
