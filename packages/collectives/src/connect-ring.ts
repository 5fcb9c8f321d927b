import { WeftError } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import type { Address } from './address.js';
import type { RingLinks } from './link.js';
import { PatientCall } from './patient-call.js';
import type { Gate } from './rendezvous.js';
import { type RingPlace, ringName } from './ring-place.js';
import { withPatience } from './with-patience.js';

export interface ConnectRingOptions {
  readonly place: RingPlace;
  readonly token: string;
  /** Where the previous rank listens. */
  readonly previousAddress: Address;
  /** Where the next rank's connections come in. */
  readonly gate: Gate;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes the connections of one rank: calls the previous rank, which it receives from, until that answers, and waits
 * for the calls of the next one.
 *
 * @throws `deadline_exceeded` naming the rank that is missing, `cancelled`, or what the previous rank refuses with.
 */
export async function connectRing(options: ConnectRingOptions): Promise<RingLinks> {
  const { place, gate, previousAddress: address, token, timeoutMs, signal } = options;
  const { previous, next } = ringNeighbours(place.rank, place.worldSize);
  const call = new PatientCall({ address, token, peer: `rank ${previous}`, connections: 2 });
  let nextCame = false;
  const late = () => {
    const missing = nextCame ? call.complaint : `rank ${next} did not call; ${call.complaint}`;
    const message = `the ring of ${ringName(place)} is not closed after ${timeoutMs} ms: ${missing}`;
    return new WeftError('deadline_exceeded', message, {
      cure: 'check that every worker of the run is alive and its data plane address can be reached from the others',
    });
  };
  try {
    const coming = gate.wires.then((wires) => {
      nextCame = true;
      return wires;
    });
    const connected = Promise.all([
      call.connectInlet({ ...place, link: 'data', expertWorker: 0 }),
      call.connect({ ...place, link: 'control', expertWorker: 0 }),
      coming,
    ]);
    const doing = `joining the ring of ${ringName(place)}`;
    const [data, control, wires] = await withPatience(connected, { timeoutMs, signal, late, doing });
    return { data: { previous: data, next: wires.data }, control: { previous: control, next: wires.control } };
  } catch (thrown) {
    call.hangUp();
    if (nextCame) for (const wire of Object.values(await gate.wires)) wire.destroy();
    throw thrown;
  } finally {
    gate.close();
  }
}
