/** Watches the bytes of requests: sizes and reserved fields. What they mean is the monitor's business. */

import {
  AttachRequest,
  DetachRequest,
  type DomainId,
  type EndpointId,
  type GuestPhysical,
  type Iova,
  MapRequest,
  ProbeRequest,
  RequestHead,
  RequestTail,
  RequestType,
  UnmapRequest,
  endpointId,
} from '@viommu/common';
import { hexOf } from '../device/transcript.ts';
import type { Ledger } from './ledger.ts';
import type { MonitoredRequest } from './monitor.ts';

const SIZES: ReadonlyMap<number, number> = new Map([
  [RequestType.ATTACH, AttachRequest.size],
  [RequestType.DETACH, DetachRequest.size],
  [RequestType.MAP, MapRequest.size],
  [RequestType.UNMAP, UnmapRequest.size],
  [RequestType.PROBE, ProbeRequest.size],
]);

/** Checks the bytes, and returns their fields; `undefined` if they are no request of the standard. */
export function watchBytes(
  bytes: Uint8Array,
  writableBytes: number,
  probeSize: number,
  ledger: Ledger,
): MonitoredRequest | undefined {
  const type = bytes[0] ?? 0;
  const size = SIZES.get(type);
  ledger.check('advice.request.type', size !== undefined, `a request of type ${type}`);
  if (size === undefined) return undefined;
  const whole = ledger.check(
    'advice.request.size',
    bytes.length === size,
    `${bytes.length} readable bytes for a request of ${size}`,
  );
  if (!whole && bytes.length < size) return undefined;
  ledger.check(
    'advice.request.room',
    writableBytes >= RequestTail.size,
    `${writableBytes} writable bytes leave no room for the tail`,
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  zero('iommu.drv.req.head-reserved-zero', RequestHead.read(view).reserved0, ledger);
  switch (type) {
    case RequestType.ATTACH: {
      const { domain, endpoint, flags, reserved1 } = AttachRequest.read(view);
      zero('iommu.drv.attach.reserved-zero', reserved1, ledger);
      return {
        kind: 'attach',
        domain: domain as DomainId,
        endpoint: endpoint as EndpointId,
        flags,
      }; // a decoder makes ids
    }
    case RequestType.DETACH: {
      const { domain, endpoint, reserved1 } = DetachRequest.read(view);
      zero('iommu.drv.detach.reserved-zero', reserved1, ledger);
      return { kind: 'detach', domain: domain as DomainId, endpoint: endpoint as EndpointId }; // a decoder makes ids
    }
    case RequestType.MAP: {
      const { domain, virtStart, virtEnd, physStart, flags } = MapRequest.read(view);
      return {
        kind: 'map',
        domain: domain as DomainId, // a decoder makes ids
        virtStart: virtStart as Iova, // and addresses
        virtLast: virtEnd as Iova, // likewise
        physStart: physStart as GuestPhysical, // likewise
        flags,
      };
    }
    case RequestType.UNMAP: {
      const { domain, virtStart, virtEnd, reserved1 } = UnmapRequest.read(view);
      zero('iommu.drv.unmap.reserved-zero', reserved1, ledger);
      return {
        kind: 'unmap',
        domain: domain as DomainId, // a decoder makes ids
        virtStart: virtStart as Iova, // and addresses
        virtLast: virtEnd as Iova, // likewise
      };
    }
    default: {
      const { endpoint, reserved1 } = ProbeRequest.read(view);
      zero('iommu.drv.probe.reserved-zero', reserved1, ledger);
      ledger.check(
        'iommu.drv.probe.properties-size',
        writableBytes === probeSize + RequestTail.size,
        `${writableBytes} writable bytes for a PROBE, and probe_size is ${probeSize}`,
      );
      return { kind: 'probe', endpoint: endpointId(endpoint) };
    }
  }
}

function zero(clause: string, bytes: Uint8Array, ledger: Ledger): void {
  ledger.check(
    clause,
    bytes.every((byte) => byte === 0),
    () => `reserved bytes are ${hexOf(bytes)}`,
  );
}
