/** Files of records for tests. */

import { type MemoryRecordFile, RecordWriter, memoryRecordFile } from '@viommu/common/records';

/** A file that holds `records`, in blocks of about `blockBytes`. */
export function fileOf(records: readonly unknown[], blockBytes = 1 << 16): MemoryRecordFile {
  const file = memoryRecordFile();
  const writer = new RecordWriter(file, { blockBytes });
  for (const record of records) writer.append(record);
  writer.flush();
  return file;
}

/** Records as they occur: a few shapes, small and large numbers, addresses. */
export function sampleRecords(count: number): readonly object[] {
  return Array.from({ length: count }, (_, index) =>
    index % 3 === 0
      ? { kind: 'access', endpoint: index, address: BigInt(index) << 12n, result: null }
      : { kind: 'map', domain: index, start: 0xffff_ffff_ffff_f000n - BigInt(index), ok: true },
  );
}
