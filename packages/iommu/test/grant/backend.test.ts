import { describe, expect, it } from 'vitest';
import { Device, type PciFunction } from '../../src/device.ts';
import {
  type IommuSpecifier,
  type SpecifierSource,
  grantBackend,
} from '../../src/grant/backend.ts';
import { CoreLog } from '../../src/log.ts';

const guest = { initialDomain: false, forceGrant: false };
const node = { path: '/virtio@3000', enabled: true };
const device = new Device({ name: 'virtio0', bus: 'platform', node });

const specifier = (change: Partial<IommuSpecifier> = {}): IommuSpecifier => ({
  node: { path: '/xen_iommu', enabled: true },
  compatible: ['xen,grant-dma'],
  cells: [1],
  ...change,
});

const source = (named: IommuSpecifier | undefined, properties: string[] = []): SpecifierSource => ({
  specifierOf: () => named,
  hasProperty: (_, name) => properties.includes(name),
});

function search(named: IommuSpecifier | undefined, properties: string[] = []) {
  const lines: string[] = [];
  const log = new CoreLog({ warn: (line) => lines.push(line) });
  const find = () => grantBackend(device, source(named, properties), guest, log);
  return { find, lines, log };
}

describe('grantBackend', () => {
  it('S0.1 one cell after a grant IOMMU is the domain [E1]', () => {
    expect(search(specifier()).find()).toBe(1);
    expect(search(specifier({ cells: [0x7fef] })).find()).toBe(0x7fef);
  });

  it.each([
    ['two cells', specifier({ cells: [1, 2] })],
    ['no cell', specifier({ cells: [] })],
    ['another IOMMU', specifier({ compatible: ['virtio,mmio'] })],
    ['no IOMMU', undefined],
  ])('S0.2 %s is refused with a reason in the log [E4]', (_, named) => {
    const { find, lines } = search(named);
    expect(find).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect(lines).toEqual([expect.stringContaining('virtio0 uses no grants: its node ')]);
  });

  it('S0.2 a number that no domain has is refused', () => {
    const { find } = search(specifier({ cells: [0x7ff0] }));
    expect(find).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('S0.2 the older property is reported and not followed', () => {
    const { find, log } = search(undefined, ['xen,backend-domid']);
    expect(find).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect(log.counters.firmwareIgnored).toBe(1);
  });

  it('S0.12 a disabled node gives no grants, with a warning [E3]', () => {
    const { find, log } = search(specifier({ node: { path: '/xen_iommu', enabled: false } }));
    expect(find).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect(log.counters.firmwareIgnored).toBe(1);
  });

  it('S0.13 a PCI device is described by its host bridge', () => {
    const bridge = new Device({ name: 'pcie', bus: 'platform', node });
    const pci: PciFunction = {
      segment: 0,
      bus: 0,
      devfn: 8,
      multifunction: false,
      isolated: true,
      aliases: [],
      upstream: undefined,
    };
    const card = new Device({ name: '0000:00:01.0', bus: 'pci', parent: bridge, pci });
    const asked: Device[] = [];
    const described: SpecifierSource = {
      specifierOf: (of) => (asked.push(of), specifier()),
      hasProperty: () => false,
    };
    expect(grantBackend(card, described, guest, new CoreLog())).toBe(1);
    expect(asked).toEqual([card]);
  });

  it('S0.2 without any description only a guest that is told to uses grants, towards domain 0', () => {
    const find = (xen: typeof guest) => grantBackend(device, undefined, xen, new CoreLog());
    expect(() => find(guest)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    expect(find({ initialDomain: false, forceGrant: true })).toBe(0);
    expect(() => find({ initialDomain: true, forceGrant: true })).toThrow(
      expect.objectContaining({ code: 'ENODEV' }),
    );
  });
});
