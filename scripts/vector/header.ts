/** The vectors of requests as a C header. */

import { DEVICES, type VectorDevice } from './device.ts';
import type { RequestVector } from './request.ts';

const START = `/* Written by scripts/generate-vectors.ts. README.md says what it means. */
#ifndef VIOMMU_VECTORS_H
#define VIOMMU_VECTORS_H

#include <stddef.h>
#include <stdint.h>

struct viommu_region {
	uint64_t start, last;
	int msi;
};

struct viommu_endpoint {
	uint32_t id;
	size_t region_count;
	struct viommu_region regions[2];
};

struct viommu_device {
	const char *name;
	uint64_t offered, accepted, page_size_mask;
	uint64_t input_start, input_last;
	uint32_t domain_first, domain_last;
	uint32_t probe_size;
	uint8_t bypass;
	size_t endpoint_count;
	struct viommu_endpoint endpoints[2];
};

struct viommu_answer {
	int warn;
	uint32_t used_length;
	/* Two characters for each byte: hex digits, ".." for unchanged, "??" for anything. */
	const char *writable;
};

struct viommu_step {
	const char *readable;
	uint32_t room;
	size_t answer_count;
	const struct viommu_answer *answers;
};

struct viommu_vector {
	const char *name, *clause;
	size_t device;
	size_t step_count;
	const struct viommu_step *steps;
};
`;

/** The text of the header. */
export function headerOf(vectors: readonly RequestVector[]): string {
  const names = Object.keys(DEVICES);
  const lines = [START, 'static const struct viommu_device viommu_devices[] = {'];
  for (const [name, device] of Object.entries(DEVICES)) lines.push(deviceOf(name, device));
  lines.push('};', '');
  vectors.forEach(({ steps }, vector) => {
    steps.forEach(({ answers }, step) => {
      lines.push(`static const struct viommu_answer viommu_answers_${vector}_${step}[] = {`);
      for (const { result, usedLength, writable } of answers)
        lines.push(`\t{ ${result === 'warn' ? 1 : 0}, ${usedLength}, ${text(writable)} },`);
      lines.push('};');
    });
    lines.push(`static const struct viommu_step viommu_steps_${vector}[] = {`);
    steps.forEach(({ readable, room, answers }, step) => {
      const list = `viommu_answers_${vector}_${step}`;
      lines.push(`\t{ ${text(readable)}, ${room}, ${answers.length}, ${list} },`);
    });
    lines.push('};', '');
  });
  lines.push('static const struct viommu_vector viommu_vectors[] = {');
  vectors.forEach(({ name, clause, device, steps }, vector) => {
    const parts = [text(name), text(clause), names.indexOf(device), steps.length];
    lines.push(`\t{ ${parts.join(', ')}, viommu_steps_${vector} },`);
  });
  lines.push('};', '', '#endif', '');
  return lines.join('\n');
}

function deviceOf(name: string, device: VectorDevice): string {
  const { offered, accepted, pageSizeMask, inputRange, domainRange, probeSize, bypass } = device;
  const wide = (value: bigint): string => `UINT64_C(0x${value.toString(16)})`;
  const endpoints = device.endpoints.map(({ id, reserved = [] }) => {
    const regions = reserved.map(
      ({ start, last, type }) => `{ ${wide(start)}, ${wide(last)}, ${type === 'msi' ? 1 : 0} }`,
    );
    const list = regions.length === 0 ? '{ { 0, 0, 0 } }' : `{ ${regions.join(', ')} }`;
    return `{ ${id}, ${regions.length}, ${list} }`;
  });
  const parts = [
    text(name),
    ...[offered, accepted, pageSizeMask, inputRange.start, inputRange.last].map(wide),
    `${domainRange.first}u`,
    `${domainRange.last}u`,
    probeSize,
    bypass ? 1 : 0,
    endpoints.length,
    `{ ${endpoints.join(', ')} }`,
  ];
  return `\t{ ${parts.join(', ')} },`;
}

function text(value: string): string {
  // "??" begins a trigraph in C, so the second one is escaped.
  return `"${value.replaceAll('??', String.raw`?\?`)}"`;
}
