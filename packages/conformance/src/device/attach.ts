/** Section "IOMMU Device / ATTACH request", the device's side. */

import { Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../case.ts';
import { attachBytes } from './request.ts';

export const ATTACH_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.attach.endpoint-missing',
    title:
      'an endpoint that does not exist is refused with NOENT, and its domain does not come into being',
    needs: ['absent'],
    run: (s) => {
      const domain = s.domain();
      s.expect(s.provoke(attachBytes(domain, s.absent)), Status.NOENT);
      s.check(!s.mapPages(domain, 0).ok, 'the refused ATTACH has made a domain');
    },
  }),
];
