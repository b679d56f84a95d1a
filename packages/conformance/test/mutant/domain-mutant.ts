/** Wrong devices: how endpoints come into domains and out of them. */

import { type MutantSection, inDevice } from './change.ts';

export const DOMAIN_MUTANTS: readonly MutantSection[] = [
  {
    name: 'ATTACH',
    mutants: [
      ...inDevice(
        'core/attach.ts',
        [
          'overlooks undefined flags in the upper bytes',
          'iommu.dev.attach.flags-unknown',
          'if ((flags & ~known) !== 0) return Status.INVAL;',
          'if ((flags & 0xff & ~known) !== 0) return Status.INVAL;',
        ],
        [
          'says UNSUPP to undefined flags',
          'iommu.dev.attach.flags-unknown',
          'if ((flags & ~known) !== 0) return Status.INVAL;',
          'if ((flags & ~known) !== 0) return Status.UNSUPP;',
        ],
        [
          'leaves the old domain before it looks at the flags',
          'iommu.dev.attach.flags-unknown#moving',
          'if ((flags & ~known) !== 0) return Status.INVAL;',
          'if ((flags & ~known) !== 0) { const e = state.endpoints.get(endpointId); if (e?.domain) state.leave(e, e.domain); return Status.INVAL; }',
        ],
        [
          'has no last domain number',
          'iommu.dev.attach.accepted-means-attached#last-domain',
          'domain > last) return Status.RANGE;',
          'domain >= last) return Status.RANGE;',
        ],
        [
          'says INVAL to endpoints that do not exist',
          'iommu.dev.attach.endpoint-missing',
          'if (endpoint === undefined) return Status.NOENT;',
          'if (endpoint === undefined) return Status.INVAL;',
        ],
        [
          'attaches nothing and says OK',
          'iommu.dev.attach.accepted-means-attached',
          'state.enter(endpoint, domain, bypass);',
          '',
        ],
        [
          'takes a bypass domain for a plain one',
          'fact.iommu.bypass-identity',
          'state.enter(endpoint, domain, bypass);',
          'state.enter(endpoint, domain, false);',
        ],
        [
          'lets endpoints with the flag join a plain domain',
          'iommu.dev.attach.bypass-flag-mismatch#plain-domain',
          'if (to.bypass !== bypass) return Status.INVAL;',
          'if (to.bypass && !bypass) return Status.INVAL;',
        ],
        [
          'lets endpoints without the flag join a bypass domain',
          'iommu.dev.attach.bypass-flag-mismatch#bypass-domain',
          'if (to.bypass !== bypass) return Status.INVAL;',
          'if (!to.bypass && bypass) return Status.INVAL;',
        ],
        [
          'says INVAL to whom is there already',
          'open.2.1',
          'if (to === from) return Status.OK;',
          'if (to === from) return Status.INVAL;',
        ],
        [
          'says INVAL to a second endpoint',
          'iommu.dev.attach.shared-domain-refused',
          'if (to === from) return Status.OK;',
          'if (to === from) return Status.OK; if (to.endpoints.size > 0) return Status.INVAL;',
        ],
        [
          'says INVAL to an endpoint whose region is mapped',
          'iommu.dev.attach.incompatible-properties',
          'if (to.conflictsWith(endpoint)) return Status.UNSUPP;',
          'if (to.conflictsWith(endpoint)) return Status.INVAL;',
        ],
        [
          'keeps a domain whose last endpoint moves away',
          'iommu.dev.attach.move-acts-like-detach',
          'if (from !== undefined) state.leave(endpoint, from);',
          'from?.remove(endpoint);',
        ],
        [
          'ends a domain when one of two moves away',
          'iommu.dev.attach.move-acts-like-detach#shared',
          'if (from !== undefined) state.leave(endpoint, from);',
          'if (from !== undefined) { state.leave(endpoint, from); state.domains.delete(from.id); }',
        ],
        [
          'says OK to a move, and stays',
          'iommu.dev.attach.move-detaches-first',
          'if (from !== undefined) state.leave(endpoint, from);',
          'if (from !== undefined) return Status.OK;',
        ],
      ),
    ],
  },
  {
    name: 'DETACH',
    mutants: [
      ...inDevice(
        'core/detach.ts',
        [
          'says INVAL to endpoints that are not there',
          'iommu.dev.detach.endpoint-missing',
          'if (endpoint === undefined) return Status.NOENT;',
          'if (endpoint === undefined) return Status.INVAL;',
        ],
        [
          'detaches from whatever domain, and says INVAL',
          'open.3.1',
          'if (from === undefined || from.id !== domain) return Status.INVAL;',
          'if (from === undefined || from.id !== domain) { if (from) state.leave(endpoint, from); return Status.INVAL; }',
        ],
        [
          'says NOENT where nothing is attached',
          'open.3.2',
          'if (from === undefined || from.id !== domain) return Status.INVAL;',
          'if (from === undefined || from.id !== domain) return Status.NOENT;',
        ],
        [
          'detaches nothing and says OK',
          'iommu.dev.detach.no-access-after',
          'state.leave(endpoint, from);',
          '',
        ],
      ),
      ...inDevice('core/domain.ts', [
        'lets a detached endpoint use the mappings of the others',
        'iommu.dev.detach.no-access-after#shared',
        'endpoint.domain = undefined;',
        'if (this.endpoints.size === 0) endpoint.domain = undefined;',
      ]),
      ...inDevice(
        'core/state.ts',
        [
          'keeps domains without endpoints',
          'fact.iommu.last-detach-destroys',
          'this.domains.delete(domain.id);',
          '',
        ],
        [
          'keeps mappings for the next who attaches',
          'open.3.4',
          'if (domain.endpoints.size > 0) return;',
          'return;',
        ],
        [
          'ends a domain that has an endpoint left',
          'open.3.3',
          'if (domain.endpoints.size > 0) return;',
          'if (domain.endpoints.size > 1) return;',
        ],
      ),
    ],
  },
];
