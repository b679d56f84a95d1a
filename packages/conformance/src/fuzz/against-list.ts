/** Differences between devices in use that do no harm, and are no secret. Nothing about isolation is named here. */

import type { NamedDeviation } from './against-deviation.ts';

export const KNOWN_DIFFERENCES: readonly NamedDeviation[] = [
  {
    name: 'attach-reserved',
    about: 'One does not look at the reserved bytes of ATTACH.',
    where: { kind: 'answer', about: 'attach', rule: 'iommu.dev.attach.reserved-nonzero' },
  },
  {
    name: 'used-length-packed',
    about: 'One leaves WRITE out of used descriptors of packed queues, which stands for length 0.',
    where: { kind: 'answer', does: ['length 0', ['length 4', 'length of a PROBE']] },
  },
  {
    name: 'probe-room',
    about: 'One answers PROBE as far as there is room.',
    where: { kind: 'answer', about: 'probe', rule: 'probeShort' },
  },
  {
    name: 'cut-removes',
    about: 'One has removed other mappings by the time it refuses to cut one.',
    where: { kind: 'answer', about: 'unmap', rule: 'unmapCut' },
  },
  {
    name: 'reserved-region',
    about: 'One takes mappings over reserved regions.',
    where: { kind: 'answer', rule: ['mapReserved', 'attachReserved'] },
  },
  {
    name: 'event-count',
    about: 'One reports a fault for each piece of an access, or for none.',
    where: { kind: 'event', about: 'count' },
  },
  {
    name: 'platform',
    about: 'They were made with other ranges, granules or sizes.',
    where: {
      kind: 'config',
      about: [
        'pageSizeMask',
        'inputRangeStart',
        'inputRangeEnd',
        'domainRangeStart',
        'domainRangeEnd',
        'probeSize',
      ],
    },
  },
  {
    name: 'open-choice',
    about: 'The standard leaves it to the device.',
    where: { verdict: 'both' },
  },
];
