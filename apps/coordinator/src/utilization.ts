import type { RunConfig } from '@weft/config';
import type { DevicePeak, MetricsRow } from '@weft/contracts';
import type { ClusterState, Command, Decision } from '@weft/coordination';
import type { modelFlops } from '@weft/planning';

type ModelFlops = ReturnType<typeof modelFlops>;

/**
 * Model FLOP/s utilization of each step: the operations of the model over what the devices of its workers could have computed
 * meanwhile. The formula knows the model, which a coordinator needs for little else, so it is loaded when a peak is known.
 */
export class Utilization {
  readonly #flops = new WeakMap<RunConfig, Promise<ModelFlops>>();

  /** The decision with MFU in the rows of metrics that it writes, where it is known. */
  async addTo(decision: Decision): Promise<Decision> {
    if (!decision.commands.some(({ kind }) => kind === 'appendMetrics')) return decision;
    const commands: Command[] = [];
    for (const command of decision.commands) commands.push(await this.#withMfu(command, decision.state));
    return { ...decision, commands };
  }

  async #withMfu(command: Command, cluster: ClusterState): Promise<Command> {
    if (command.kind !== 'appendMetrics') return command;
    const mfu = await this.#mfu(command.runId, command.row, cluster);
    return mfu === undefined ? command : { ...command, row: { ...command.row, mfu } };
  }

  async #mfu(runId: string, { generation, seconds, moe }: MetricsRow, { runs, workers }: ClusterState) {
    const run = runs.get(runId);
    if (run?.live.state !== 'training' || run.state.generation !== generation) return undefined;
    const members = [...run.live.members, ...run.live.experts];
    const peaks = members.flatMap((workerId) => workers.get(workerId)?.peak ?? []);
    if (peaks.length < members.length) return undefined;
    const flops = await this.#flopsOf(run.state.config);
    const peak = peaks.reduce((sum, each: DevicePeak) => sum + each[flops.operands], 0);
    const phases = Object.values(seconds).reduce<number>((sum, each) => sum + (each ?? Number.NaN), 0);
    const mfu = flops.step / ((phases + (moe?.waitingSeconds ?? 0)) * peak);
    return Number.isFinite(mfu) ? mfu : undefined;
  }

  #flopsOf(config: RunConfig): Promise<ModelFlops> {
    const flops = this.#flops.get(config) ?? import('@weft/planning').then(({ modelFlops }) => modelFlops(config));
    this.#flops.set(config, flops);
    return flops;
  }
}
