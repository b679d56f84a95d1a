/** Wrong devices: requests as bytes, and their answers. */

import { type MutantSection, inDevice } from './change.ts';

export const REQUEST_MUTANTS: readonly MutantSection[] = [
  {
    name: 'requests as bytes',
    mutants: [
      ...inDevice(
        'request.ts',
        [
          'takes the whole head for the type',
          'iommu.dev.req.head-reserved-ignored',
          'const type = view.getUint8(at + TYPE);',
          'const type = view.getUint32(at + TYPE, true);',
        ],
        [
          'says UNSUPP to unknown types',
          'iommu.dev.req.unknown-type-not-written',
          'return NoStatus.UNKNOWN; // 1.11, 1.12',
          'return Status.UNSUPP;',
        ],
        [
          'looks at one reserved byte of ATTACH only',
          'iommu.dev.attach.reserved-nonzero',
          'if (view.getUint32(at + reserved1, true) !== 0) return INVAL;',
          'if (view.getUint8(at + reserved1) !== 0) return INVAL;',
        ],
        [
          'wants reserved bytes of DETACH to be zero',
          'iommu.dev.detach.reserved-ignored',
          'if (bytes < DetachRequest.size) return INVAL;',
          'if (bytes < DetachRequest.size || view.getUint8(at + 12) !== 0) return INVAL;',
        ],
        [
          'says OK to reserved bytes of UNMAP, and unmaps nothing',
          'iommu.dev.unmap.reserved-nonzero-status',
          'if (bytes < UNMAP_BYTES) return INVAL;',
          'if (bytes < UNMAP_BYTES || view.getUint32(at + UNMAP_END + 8, true) !== 0) return Status.OK;',
        ],
        [
          'wants reserved bytes of PROBE to be zero',
          'iommu.dev.probe.reserved-ignored',
          'if (bytes < ProbeRequest.size) return undefined;',
          'if (bytes < ProbeRequest.size || view.getUint8(at + 8) !== 0) return undefined;',
        ],
        [
          'completes a short MAP with what it finds',
          'open.1.4#map',
          'if (bytes < MAP_BYTES) return INVAL;',
          '',
        ],
        [
          'completes a short ATTACH with what it finds',
          'open.1.4#attach',
          'if (bytes < AttachRequest.size) return INVAL;',
          '',
        ],
        [
          'takes 16 bits of a domain number',
          'iommu.dev.map.domain-missing#high-numbers',
          'const domain = view.getUint32(at + MAP_DOMAIN, true);',
          'const domain = view.getUint16(at + MAP_DOMAIN, true);',
        ],
        [
          'takes 32 bits of where to unmap',
          'iommu.dev.req.status-ok#unmap-above-4g',
          'const startHigh = view.getUint32(at + UNMAP_START + HIGH, true);',
          'const startHigh = 0;',
        ],
        [
          'takes 32 bits of an address',
          'fact.iommu.translate#physical',
          'pageOfWords(phys, physHigh),',
          'pageOfWords(phys, 0),',
        ],
      ),
      ...inDevice(
        'iommu-device.ts',
        [
          'writes into an answer that has no status',
          'iommu.dev.req.unknown-type-used-len-zero',
          'if (noStatus !== NoStatus.PROBE) return 0;',
          'if (noStatus !== NoStatus.PROBE) return Math.min(TAIL_BYTES, writableBytes);',
        ],
        [
          'sets reserved bytes of the tail',
          'iommu.dev.req.tail-reserved-zero',
          'memory.setUint32(writable, status);',
          'memory.setUint32(writable, status | 0x10000);',
        ],
        [
          'leaves status and used length 0',
          'iommu.dev.req.status-ok',
          'return TAIL_BYTES; // 1.1',
          'return 0;',
        ],
        [
          'says that it wrote more than it did',
          'open.1.9',
          'return TAIL_BYTES; // 1.1',
          'return writableBytes;',
        ],
        [
          'serves requests without a head',
          'fact.iommu.parse-failure',
          'return readableBytes >= HEAD_BYTES && writableBytes >= TAIL_BYTES;',
          'return writableBytes >= TAIL_BYTES;',
        ],
        [
          'writes the tail behind a buffer that is too short',
          'open.1.6',
          'return readableBytes >= HEAD_BYTES && writableBytes >= TAIL_BYTES;',
          'return readableBytes >= HEAD_BYTES && writableBytes >= 1;',
        ],
        [
          'reads the first piece of a request',
          'split.dev.framing.no-layout-assumption',
          'chain.read(0, this.#gathered, 0, Math.min(readableBytes, REQUEST_BYTES_MAX));',
          'chain.read(0, this.#gathered, 0, Math.min(chain.length(0), REQUEST_BYTES_MAX));',
        ],
        [
          'writes over the request',
          'split.dev.desc.no-write-readable',
          'memory.setUint32(writable, status);',
          'memory.setUint32(writable, status); memory.setUint32(readable, status);',
        ],
      ),
    ],
  },
];
