import type { DevicesOutcome, ExchangeDevices } from '@weft/collectives';
import { refuse } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { Executor } from '@weft/tensor';
import { loadNccl } from '../nccl-library.js';

/** What both ends of an exchange need to settle how rows travel. */
interface DeviceExchangeOptions {
  readonly config: RunConfig;
  readonly executor: Pick<Executor, 'deviceCount'>;
  /** Of this end: `ExpertExchange.openDevices` or `ExpertHost.openDevices`. */
  readonly open: (devices: ExchangeDevices) => Promise<DevicesOutcome>;
  /** Told how rows travel, in words; not where nothing else was possible. */
  readonly onExchange: (description: string) => void;
}

/**
 * Settles with the other processes of a generation whether rows go from device to device, as `engine.collectives` asks for
 * it; all come to the same result. Else they go over the connections.
 * @throws WeftError `native_library` when the settings ask for NCCL and a process lacks it; what the exchange meets
 */
export async function openDeviceExchange(options: DeviceExchangeOptions): Promise<boolean> {
  const { config, executor, open, onExchange } = options;
  const { collectives, backend } = config.engine;
  const mayHave = backend === 'auto' || backend === 'pjrt';
  if (collectives === 'ring' || (collectives === 'auto' && !mayHave)) return false;
  const devices = await executor.deviceCount();
  const outcome = await open(exchangeDevices(config, devices));
  if (outcome.reason === undefined) {
    onExchange(`${outcome.description}, between the memories of their devices`);
    return true;
  }
  if (collectives === 'nccl') {
    const hint = 'set engine.collectives to auto, or set up NCCL';
    refuse('native_library', `engine.collectives is nccl, but ${outcome.reason}`, hint);
  }
  if (devices > 0) onExchange(`their connections: ${outcome.reason}`);
  return false;
}

function exchangeDevices({ model }: RunConfig, devices: number): ExchangeDevices {
  const without = (missing: string) => ({ library: undefined, missing });
  if (devices === 0) return without('the engine has no GPU');
  if (devices > 1)
    return without(`the engine has ${devices} devices; rows go from device to device where each has one`);
  if (model.decoder.moe?.exchangePrecision === 'bf16')
    return without('model.decoder.moe.exchangePrecision is bf16, to which rows are rounded on the host');
  return loadNccl();
}
