/**
 * The ACPI table VIOT: which endpoints are behind which virtio-iommu. ACPI Specification 6.5, section 5.2.34.
 *
 * Little-endian, and every node says its own length, so that a reader can step over what it does not know.
 */

import { IommuError, struct } from '@viommu/common';

/** An IOMMU as the table knows it; endpoints refer to this object. */
export type ViotIommu =
  | {
      readonly type: 'pciIommu';
      readonly segment: number;
      /** Bus * 256 + device * 8 + function. */
      readonly bdf: number;
    }
  | { readonly type: 'mmioIommu'; readonly baseAddress: bigint };

/** Endpoints as the table knows them. */
export type ViotEndpoint =
  | {
      readonly type: 'pciRange';
      /** What the IOMMU calls the first of them. */
      readonly endpointStart: number;
      readonly segmentStart: number;
      readonly segmentEnd: number;
      readonly bdfStart: number;
      readonly bdfEnd: number;
      readonly output: ViotIommu;
    }
  | {
      readonly type: 'mmioEndpoint';
      readonly endpoint: number;
      readonly baseAddress: bigint;
      readonly output: ViotIommu;
    };

/** Anything the table lists. */
export type ViotNode = ViotIommu | ViotEndpoint;

/** What a table says, and what was wrong with the rest of it. */
export interface Viot {
  /** In the order of the table. */
  readonly nodes: readonly ViotNode[];
  /** A reason for each node that is left out. After `EOVERFLOW` and `EINVAL` nothing more was read. */
  readonly problems: readonly IommuError[];
}

const Header = struct('acpi_table_viot', 48, {
  signature: 'u8[4]',
  length: 'le32',
  revision: 'u8',
  checksum: 'u8',
  oemId: 'u8[6]',
  oemTableId: 'u8[8]',
  oemRevision: 'le32',
  creatorId: 'u8[4]',
  creatorRevision: 'le32',
  nodeCount: 'le16',
  nodeOffset: 'le16',
  reserved: 'u8[8]',
});

const NodeHead = struct('acpi_viot_header', 4, { type: 'u8', reserved: 'u8', length: 'le16' });

const PciRange = struct('acpi_viot_pci_range', 24, {
  type: 'u8',
  reserved: 'u8',
  length: 'le16',
  endpointStart: 'le32',
  segmentStart: 'le16',
  segmentEnd: 'le16',
  bdfStart: 'le16',
  bdfEnd: 'le16',
  outputNode: 'le16',
  reserved2: 'u8[6]',
});

const MmioEndpoint = struct('acpi_viot_mmio', 24, {
  type: 'u8',
  reserved: 'u8',
  length: 'le16',
  endpoint: 'le32',
  baseAddress: 'le64',
  outputNode: 'le16',
  reserved2: 'u8[6]',
});

const PciIommu = struct('acpi_viot_virtio_iommu_pci', 16, {
  type: 'u8',
  reserved: 'u8',
  length: 'le16',
  segment: 'le16',
  bdf: 'le16',
  reserved2: 'u8[8]',
});

const MmioIommu = struct('acpi_viot_virtio_iommu_mmio', 16, {
  type: 'u8',
  reserved: 'u8',
  length: 'le16',
  reserved2: 'u8[4]',
  baseAddress: 'le64',
});

/** What each kind of node is called in the table, and how it lies there. */
const KINDS = {
  pciRange: { type: 1, layout: PciRange },
  mmioEndpoint: { type: 2, layout: MmioEndpoint },
  pciIommu: { type: 3, layout: PciIommu },
  mmioIommu: { type: 4, layout: MmioIommu },
} as const;

const SIGNATURE = ascii('VIOT');

/** Reads a table. @throws {IommuError} `EINVAL` if it is none, or damaged: nothing of it can be believed. */
export function parseViot(bytes: Uint8Array): Viot {
  // A copy, since somebody else may still write to what was given.
  const table = bytes.slice();
  const view = new DataView(table.buffer);
  if (table.length < Header.size) throw bad('is too short');
  const { signature, length, nodeCount, nodeOffset } = Header.read(view);
  if (signature.some((byte, index) => byte !== SIGNATURE[index])) throw bad('has another name');
  if (length < Header.size || length > table.length)
    throw bad(`says that it has ${length} bytes and has ${table.length}`);
  if (sumOf(table.subarray(0, length)) !== 0) throw bad('has another checksum');

  const iommus = new Map<number, ViotIommu>();
  const listed: { node: ViotNode | Unresolved; at: number }[] = [];
  const problems: IommuError[] = [];
  let at = nodeOffset;
  for (let left = nodeCount; left > 0; left -= 1) {
    const head = headAt(view, at, length);
    if (head instanceof IommuError) {
      problems.push(head);
      break;
    }
    const node = readNode(view, at, head.type);
    if (node !== undefined) {
      listed.push({ node, at });
      if (node.type === 'pciIommu' || node.type === 'mmioIommu') iommus.set(at, node);
    }
    at += head.length;
  }

  const nodes: ViotNode[] = [];
  for (const { node, at: offset } of listed) {
    if (!('outputNode' in node)) nodes.push(node);
    else {
      const { outputNode, ...endpoint } = node;
      const output = iommus.get(outputNode);
      if (output !== undefined) nodes.push({ ...endpoint, output });
      else problems.push(problem('ENODEV', offset, `names no IOMMU at ${outputNode}`));
    }
  }
  return { nodes, problems };
}

/** An endpoint whose IOMMU may come later in the table. */
type Unresolved =
  | Unlinked<Extract<ViotEndpoint, { type: 'pciRange' }>>
  | Unlinked<Extract<ViotEndpoint, { type: 'mmioEndpoint' }>>;
type Unlinked<Endpoint> = Omit<Endpoint, 'output'> & { readonly outputNode: number };

/** The head of the node at `at`, or why there is none. */
function headAt(
  view: DataView,
  at: number,
  end: number,
): { type: number; length: number } | IommuError {
  if (at < Header.size) return problem('EOVERFLOW', at, 'lies in the header');
  if (at + NodeHead.size > end) return problem('EOVERFLOW', at, 'lies behind the end');
  const head = NodeHead.read(view, at);
  const kind = Object.values(KINDS).find(({ type }) => type === head.type);
  if (head.length < (kind?.layout ?? NodeHead).size)
    return problem('EINVAL', at, `has ${head.length} bytes`);
  if (at + head.length > end) return problem('EOVERFLOW', at, 'goes on behind the end');
  return head;
}

/** The node at `at`, which is known to be there; `undefined` if it is of no known type. */
function readNode(view: DataView, at: number, type: number): ViotIommu | Unresolved | undefined {
  switch (type) {
    case KINDS.pciRange.type: {
      const { endpointStart, segmentStart, segmentEnd, bdfStart, bdfEnd, outputNode } =
        PciRange.read(view, at);
      return {
        type: 'pciRange',
        endpointStart,
        segmentStart,
        segmentEnd,
        bdfStart,
        bdfEnd,
        outputNode,
      };
    }
    case KINDS.mmioEndpoint.type: {
      const { endpoint, baseAddress, outputNode } = MmioEndpoint.read(view, at);
      return { type: 'mmioEndpoint', endpoint, baseAddress, outputNode };
    }
    case KINDS.pciIommu.type: {
      const { segment, bdf } = PciIommu.read(view, at);
      return { type: 'pciIommu', segment, bdf };
    }
    case KINDS.mmioIommu.type:
      return { type: 'mmioIommu', baseAddress: MmioIommu.read(view, at).baseAddress };
    default:
      return undefined;
  }
}

/**
 * Writes a table with these nodes. What {@link parseViot} reads from it are the same nodes.
 *
 * @throws {IommuError} `EOVERFLOW` if they do not fit a table, `EINVAL` if an endpoint's IOMMU is not among them.
 */
export function buildViot(nodes: readonly ViotNode[]): Uint8Array {
  const offsets = new Map<ViotNode, number>();
  let length = Header.size;
  for (const node of nodes) {
    offsets.set(node, length);
    length += KINDS[node.type].layout.size;
  }
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  Header.write(view, 0, {
    signature: SIGNATURE,
    length,
    revision: 0,
    checksum: 0,
    oemId: ascii('VIOMMU'),
    oemTableId: ascii('VIOMMU'),
    oemRevision: 1,
    creatorId: ascii('VIOM'),
    creatorRevision: 1,
    nodeCount: nodes.length,
    nodeOffset: Header.size,
  });
  let at = Header.size;
  for (const node of nodes) {
    const { type, layout } = KINDS[node.type];
    const head = { type, length: layout.size };
    if (node.type === 'pciIommu') PciIommu.write(view, at, { ...node, ...head });
    else if (node.type === 'mmioIommu') MmioIommu.write(view, at, { ...node, ...head });
    else {
      const outputNode = offsets.get(node.output);
      if (outputNode === undefined)
        throw new IommuError('EINVAL', `The IOMMU of node ${at} is not in the table.`);
      if (node.type === 'pciRange') PciRange.write(view, at, { ...node, ...head, outputNode });
      else MmioEndpoint.write(view, at, { ...node, ...head, outputNode });
    }
    at += layout.size;
  }
  view.setUint8(Header.offset.checksum, (256 - sumOf(bytes)) % 256);
  return bytes;
}

function sumOf(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => (sum + byte) % 256, 0);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function problem(code: 'EOVERFLOW' | 'EINVAL' | 'ENODEV', at: number, what: string): IommuError {
  return new IommuError(code, `The VIOT node at ${at} ${what}.`);
}

function bad(how: string): IommuError {
  return new IommuError('EINVAL', `The VIOT table ${how}.`);
}
