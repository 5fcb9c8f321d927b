import { WEFT_VERSION } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { runViewFromProto } from '@weft/contracts';
import { SweepState, type SweepSummary, SweepsService } from '@weft/proto';
import type { Channel } from '@weft/rpc';

/** A sweep as the coordinator keeps it. */
export interface SweepView {
  readonly sweepId: string;
  /** `ready`: all children have ended, and the result is not there yet. */
  readonly state: 'running' | 'ready' | 'finished' | 'cancelled';
  /** The `SweepRecord` with which it was launched. */
  readonly sweepJson: string;
  /** The result; empty before the sweep is finished. */
  readonly resultJson: string;
  /** In the order of the launch; empty in a listing. */
  readonly children: readonly RunView[];
}

/** The Sweeps service. Every failed call is a WeftError. */
export class SweepsClient {
  readonly #channel: Channel;

  private constructor(open: Channel) {
    this.#channel = open;
  }

  static async connect(address: string): Promise<SweepsClient> {
    const { channel } = await import('@weft/rpc');
    return new SweepsClient(await channel(address));
  }

  /** Launching an id that exists returns that sweep. */
  async launch(sweepId: string, sweepJson: string, childrenConfigJson: string[]): Promise<SweepView> {
    const request = { sweepId, sweepJson, childrenConfigJson, clientVersion: WEFT_VERSION };
    return sweepViewFromProto(await this.#channel.unary(SweepsService.launch, request, { idempotent: true }));
  }

  async get(sweepId: string): Promise<SweepView> {
    return sweepViewFromProto(await this.#channel.unary(SweepsService.get, { sweepId }, { idempotent: true }));
  }

  async list(): Promise<SweepView[]> {
    const { sweeps } = await this.#channel.unary(SweepsService.list, {}, { idempotent: true });
    return sweeps.map(sweepViewFromProto);
  }

  async finish(sweepId: string, resultJson: string): Promise<SweepView> {
    return sweepViewFromProto(
      await this.#channel.unary(SweepsService.finish, { sweepId, resultJson }, { idempotent: true }),
    );
  }

  close(): void {
    this.#channel.close();
  }
}

const STATES: Readonly<Record<SweepState, SweepView['state']>> = {
  [SweepState.SWEEP_STATE_RUNNING]: 'running',
  [SweepState.SWEEP_STATE_READY]: 'ready',
  [SweepState.SWEEP_STATE_FINISHED]: 'finished',
  [SweepState.SWEEP_STATE_CANCELLED]: 'cancelled',
  // A coordinator of a later version may have more states; none of them is a known end.
  [SweepState.SWEEP_STATE_UNSPECIFIED]: 'running',
  [SweepState.UNRECOGNIZED]: 'running',
};

function sweepViewFromProto({ sweepId, state, sweepJson, resultJson, children }: SweepSummary): SweepView {
  return { sweepId, state: STATES[state], sweepJson, resultJson, children: children.map(runViewFromProto) };
}
