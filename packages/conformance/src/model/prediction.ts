/** One request, from its bytes to what becomes of it: section "IOMMU Device / Device operations". Changes nothing. */

import { IommuFeature, RequestHead, RequestTail, Status } from '@viommu/common';
import {
  type Answer,
  NEEDS_RESET,
  UNTOUCHED,
  probeAnswer,
  shortProbeAnswer,
  tailAnswer,
} from './answer.ts';
import { attach, detach } from './attachment.ts';
import type { ChoiceName, Choices } from './choice.ts';
import { map, unmap } from './mapping.ts';
import { type Request, kindOf, readRequest } from './request.ts';
import type { Change, State } from './state.ts';
import { Judgement } from './judgement.ts';

/** What will come of a request. */
export interface Prediction {
  readonly answer: Answer;
  readonly changes: readonly Change[];
  /** The rule that decided: a clause, the name of a choice, or `iommu.dev.req.status-ok`. */
  readonly rule: string;
  /** All rules that end this request; any may come first (9.5). */
  readonly rules: readonly string[];
  /** The choices that it hangs on. */
  readonly asked: readonly ChoiceName[];
}

/**
 * Predicts what becomes of the request in `readable`, with `room` writable bytes behind it. Of several rules that end it
 * the one called `first` decides, if it is among them.
 */
export function predict(
  state: State,
  choices: Choices,
  readable: Uint8Array,
  room: number,
  first?: string,
): Prediction {
  const judgement = new Judgement(choices);
  if (readable.length < RequestHead.size) return withoutTail('noHead', judgement); // 1.5
  const known = kindOf(readable);
  if (room < RequestTail.size) {
    // 1.6: fact.iommu.parse-failure
    const prediction = withoutTail('noTail', judgement);
    if (!prediction.answer.completed || known === undefined || readable.length < known[1])
      return prediction;
    if (judgement.ask('noTailEffect') === 'none') return prediction; // 1.7
    const { changes } = settle(state, judgement, readRequest(known[0], readable), first);
    return { ...prediction, changes };
  }
  if (known === undefined) {
    // iommu.dev.req.unknown-type-not-written, iommu.dev.req.unknown-type-used-len-zero
    const status = judgement.ask('unknownType');
    const answer = status === 'untouched' ? UNTOUCHED : tailAnswer(Status[status], room, judgement);
    return of(judgement, answer, [], 'unknownType');
  }

  const [kind, bytes] = known;
  const refusal = unavailable(state, kind, judgement);
  if (refusal !== undefined) return refuse(refusal, state, kind, room, judgement);
  if (readable.length < bytes)
    return refuse(
      { rule: 'shortRequest', status: judgement.ask('shortRequest') },
      state,
      kind,
      room,
      judgement,
    ); // 1.4
  // 1.8
  if (readable.length > bytes && judgement.ask('longRequest') === 'INVAL')
    judgement.end(Status.INVAL, 'longRequest');

  const request = readRequest(kind, readable);
  if (request.kind === 'probe') {
    const { probeSize } = state.platform;
    if (room < probeSize + RequestTail.size)
      return of(judgement, shortProbeAnswer(room, probeSize, judgement), [], 'probeShort');
    const { rule, status, changes } = settle(state, judgement, request, first);
    const endpoint = state.endpoints.get(request.endpoint);
    return of(judgement, probeAnswer(status, endpoint, room, probeSize, judgement), changes, rule);
  }
  const { rule, status, changes } = settle(state, judgement, request, first);
  return of(judgement, tailAnswer(status, room, judgement), changes, rule);
}

interface Refusing {
  readonly rule: ChoiceName;
  readonly status: keyof typeof Status | 'untouched';
}

/** 1.12: a kind of request whose feature is not accepted. Undefined if the request is to be served. */
function unavailable(
  state: State,
  kind: Request['kind'],
  judgement: Judgement,
): Refusing | undefined {
  if (kind === 'attach' || kind === 'detach') return undefined;
  const feature = kind === 'probe' ? IommuFeature.PROBE : IommuFeature.MAP_UNMAP;
  if (state.accepted(feature)) return undefined;
  if (kind === 'probe' && !state.offered(feature))
    return { rule: 'unofferedProbe', status: judgement.ask('unofferedProbe') };
  const status = judgement.ask('unnegotiatedType');
  return status === 'served' ? undefined : { rule: 'unnegotiatedType', status };
}

/** A request that is refused before anything in it counts. */
function refuse(
  { rule, status }: Refusing,
  { platform: { probeSize } }: State,
  kind: Request['kind'],
  room: number,
  judgement: Judgement,
): Prediction {
  let answer = UNTOUCHED;
  if (status !== 'untouched')
    answer =
      kind === 'probe'
        ? probeAnswer(Status[status], undefined, room, probeSize, judgement)
        : tailAnswer(Status[status], room, judgement);
  return of(judgement, answer, [], rule);
}

/** Lets the rules of its kind judge a request. */
function settle(
  state: State,
  judgement: Judgement,
  request: Request,
  first: string | undefined,
): { readonly rule: string; readonly status: Status; readonly changes: readonly Change[] } {
  switch (request.kind) {
    case 'attach':
      attach(state, request, judgement);
      break;
    case 'detach':
      detach(state, request, judgement);
      break;
    case 'map':
      map(state, request, judgement);
      break;
    case 'unmap':
      unmap(state, request, judgement);
      break;
    case 'probe':
      // iommu.dev.probe.endpoint-missing
      if (!state.endpoints.has(request.endpoint))
        judgement.end(Status[judgement.ask('probeNoEndpoint')], 'probeNoEndpoint');
  }
  const served = { rule: 'iommu.dev.req.status-ok', status: Status.OK, changes: judgement.changes };
  return judgement.ruling(first) ?? served;
}

function withoutTail(choice: 'noHead' | 'noTail', judgement: Judgement): Prediction {
  const answer = judgement.ask(choice) === 'untouched' ? UNTOUCHED : NEEDS_RESET;
  return of(judgement, answer, [], choice);
}

function of(
  judgement: Judgement,
  answer: Answer,
  changes: readonly Change[],
  rule: string,
): Prediction {
  const { asked, rulings } = judgement;
  const rules = rulings.length < 2 ? [rule] : rulings.map((ruling) => ruling.rule);
  return { answer, changes, rule, rules, asked };
}
