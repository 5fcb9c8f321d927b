import { UsageError } from '@weft/common';

/** A coordinator that was named in the environment is only a default; one on the command line contradicts `--local`. */
export function refuseBoth({
  local,
  coordinator,
}: {
  readonly local?: number | true;
  readonly coordinator?: string;
}): void {
  if (local !== undefined && coordinator !== undefined)
    throw new UsageError('--local starts a coordinator of its own, so --coordinator cannot be given with it');
}
