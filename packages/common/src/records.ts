/** Records on disk: an entry point of its own, so that nobody loads msgpackr who does not ask for it. */

export { memoryRecordFile, type MemoryRecordFile, type RecordFile } from './record/file.ts';
export { BLOCK_BYTES_MAX, isRecordFile, type RecordProblem } from './record/frame.ts';
export {
  readRecordBlocks,
  readRecords,
  type RecordBlock,
  type RecordContents,
} from './record/reader.ts';
export { RecordWriter, type RecordWriterOptions } from './record/writer.ts';
