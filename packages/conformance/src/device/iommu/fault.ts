/** Section "IOMMU Device / Fault reporting", the device's side. A device need not report: then there is nothing to hold. */

import { FaultFlag, FaultReason } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { CAUSES, type Cause, NEEDS, caused, checkAddress, records } from './cause.ts';

const { READ, WRITE, ADDRESS } = FaultFlag;

export const FAULT_CASES: readonly DeviceCase[] = Object.entries(CAUSES).flatMap(
  ([name, cause]: [string, Cause]) => [
    defineCase({
      ...NEEDS,
      id: `iommu.dev.fault.reserved-zero#${name}`,
      title: `reserved bytes of the record are 0: ${name}`,
      run: (s) => {
        for (const { record } of records(s, caused(s, cause)))
          s.check(
            record.reserved.every((byte) => byte === 0) &&
              record.reserved1.every((byte) => byte === 0),
            'they are not',
          );
      },
    }),
    defineCase({
      ...NEEDS,
      id: `iommu.dev.fault.flags-undefined-zero#${name}`,
      title: `flags of the record that nobody has defined are 0: ${name}`,
      run: (s) => {
        for (const { record } of records(s, caused(s, cause))) {
          const rest = record.flags & ~(READ | WRITE | ADDRESS);
          s.check(rest === 0, `0x${(rest >>> 0).toString(16)} are set`);
        }
      },
    }),
    defineCase({
      ...NEEDS,
      id: `iommu.dev.fault.endpoint-valid#${name}`,
      title: `the record names the endpoint: ${name}`,
      run: (s) => {
        for (const { id } of s.dma.endpoints) {
          const fault = caused(s, cause, id);
          for (const { record } of records(s, fault))
            s.check(record.endpoint === id, `it names ${record.endpoint}, not ${id}`);
        }
      },
    }),
    defineCase({
      ...NEEDS,
      id: `iommu.dev.fault.address-optional#${name}`,
      title: `the address of the record, if there is one, is where the access was: ${name}`,
      run: (s) => {
        const fault = caused(s, cause);
        for (const { record } of records(s, fault)) checkAddress(s, record, fault);
      },
    }),
    defineCase({
      ...NEEDS,
      id: `${cause.attached ? 'open.8.9' : 'open.8.10'}#${name}`,
      title: `the reason fits: ${name}`,
      run: (s) => {
        const { DOMAIN, MAPPING, UNKNOWN } = FaultReason;
        for (const { record } of records(s, caused(s, cause))) {
          s.note(`the reason is ${record.reason}`);
          const fitting = [cause.attached ? MAPPING : DOMAIN, UNKNOWN] as readonly number[]; // any byte is looked for
          s.check(fitting.includes(record.reason), `reason ${record.reason}`);
        }
      },
    }),
    defineCase({
      ...NEEDS,
      id: `open.8.7#${name}`,
      title: `the flags of the record do not say the opposite of what the access was: ${name}`,
      run: (s) => {
        for (const { record } of records(s, caused(s, cause))) {
          s.note(`flags 0x${record.flags.toString(16)}`);
          const other = cause.direction === 'read' ? WRITE : READ;
          const only = record.flags & (READ | WRITE);
          s.check(only !== other, `only the other of READ and WRITE is set`);
        }
      },
    }),
  ],
);
