import { readFile } from 'node:fs/promises';
import { noCoordinator } from '@weft/client';
import { WeftError } from '@weft/common';
import { Home, isMissing, readCoordinatorFile } from '@weft/files';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { print, printJson } from '../terminal.js';

/**
 * `weft page`: where the web page of this home's coordinator is, with its token where it needs one.
 *
 * @throws WeftError `unavailable` without a coordinator, `failed_precondition` for one that was started with `--page off`
 */
export async function page(context: CommandContext): Promise<number> {
  const { terminal, json } = context;
  const home = new Home(context.home);
  const coordinator = await readCoordinatorFile(home);
  if (coordinator === undefined) throw noCoordinator(context, 'give --local 2 to weft launch');
  if (coordinator.pageAddress === undefined)
    throw new WeftError('failed_precondition', `the coordinator at ${coordinator.address} serves no web page`, {
      hint: 'start it without --page off',
    });
  const token = await readToken(home);
  const url = `http://${coordinator.pageAddress}/${token === undefined ? '' : `?token=${token}`}`;
  if (json) printJson(terminal, { url });
  else print(terminal, url);
  return EXIT.done;
}

/** A token of an earlier start does no harm: on loopback the page does not look at it. */
async function readToken({ pageTokenFile }: Home): Promise<string | undefined> {
  try {
    return (await readFile(pageTokenFile, 'utf8')).trim();
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
}
