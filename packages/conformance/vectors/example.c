/*
 * Runs the vectors of requests against a device.
 *
 * The device is at the other end of a pipe here. For one of your own replace start() and submit(), which are all that
 * knows of it. Exit status 1 means that an answer does not conform.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define ROOM_MAX 256
#define FILL 0xa5

/* A new device: "device 0" goes out. */
static void start(size_t device)
{
	printf("device %zu\n", device);
}

/*
 * One request. The readable bytes go out as hex, and the writable ones as they are beforehand; the used length and the
 * writable bytes come back. Returns the used length.
 */
static uint32_t submit(const char *readable, uint8_t *writable, uint32_t room)
{
	char hex[2 * ROOM_MAX + 2] = "";
	unsigned int used, byte;
	uint32_t i;

	printf("request %s ", *readable ? readable : "-");
	for (i = 0; i < room; i++)
		printf("%02x", writable[i]);
	printf(room ? "\n" : "-\n");
	fflush(stdout);
	if (scanf("%u %513s", &used, hex) != 2)
		exit(2);
	for (i = 0; i < room && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		writable[i] = (uint8_t)byte;
	return used;
}

/* True if the writable bytes are like the pattern. */
static int agrees(const char *pattern, const uint8_t *writable, uint32_t room)
{
	unsigned int byte;
	uint32_t i;

	for (i = 0; i < room; i++) {
		const char *wanted = pattern + 2 * i;

		if (*wanted == '?')
			continue;
		byte = FILL;
		if (*wanted != '.' && sscanf(wanted, "%2x", &byte) != 1)
			return 0;
		if (writable[i] != byte)
			return 0;
	}
	return 1;
}

/* The index of the answer that the device gave, or -1 if it is none that conforms. */
static int run_step(const struct viommu_step *step)
{
	uint8_t writable[ROOM_MAX];
	uint32_t used;
	size_t i;

	if (step->room > ROOM_MAX)
		exit(2);
	memset(writable, FILL, sizeof(writable));
	used = submit(step->readable, writable, step->room);
	for (i = 0; i < step->answer_count; i++) {
		const struct viommu_answer *answer = &step->answers[i];

		if (answer->used_length == used && agrees(answer->writable, writable, step->room))
			return (int)i;
	}
	return -1;
}

int main(void)
{
	size_t i, j, passed = 0, warned = 0, failed = 0;

	for (i = 0; i < sizeof(viommu_vectors) / sizeof(*viommu_vectors); i++) {
		const struct viommu_vector *vector = &viommu_vectors[i];
		int warn = 0, found = 0;

		start(vector->device);
		/* Later steps count on the first answer. */
		for (j = 0; j < vector->step_count && found == 0; j++) {
			found = run_step(&vector->steps[j]);
			if (found > 0)
				warn = vector->steps[j].answers[found].warn;
		}
		if (found < 0)
			fprintf(stderr, "fail %s, step %zu\n", vector->name, j);
		failed += found < 0;
		warned += warn;
		passed += found >= 0 && !warn;
	}
	fprintf(stderr, "%zu passed, %zu warned, %zu failed\n", passed, warned, failed);
	return failed > 0;
}
