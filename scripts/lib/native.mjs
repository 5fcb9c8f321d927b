import { installTensorFlow, NativeLibraryError } from '../../packages/native-setup/src/index.mjs';
import { StageError } from './stage.mjs';

/**
 * Finds or fetches the TensorFlow library and shows how far it is.
 *
 * @param {import('./stage.mjs').Report} report
 * @returns {Promise<string>} the result, for the line of the stage
 * @throws {StageError} when there is none
 */
export async function setUpTensorFlow(report) {
  try {
    const { directory, version, variant, reason } = await installTensorFlow({
      onProgress: showProgress(report),
    });
    const build = variant === 'unknown' ? '' : ` (${variant})`;
    return `TensorFlow ${version ?? 'of unknown version'}${build} in ${directory}: ${reason}`;
  } catch (error) {
    if (error instanceof NativeLibraryError) throw new StageError(error.message, error.hint);
    throw error;
  }
}

/**
 * The stage that sets TensorFlow up. Without a library the script goes on, and the stage prints why there is none.
 *
 * @param {import('./stage.mjs').Stages} stages
 * @param {string} [without] what the script does then
 * @returns {Promise<boolean>} whether there is a library
 */
export async function runTensorFlowStage(stages, without = '') {
  let isThere = true;
  await stages.run('TensorFlow library', async (report) => {
    try {
      return await setUpTensorFlow(report);
    } catch (error) {
      if (!(error instanceof StageError)) throw error;
      isThere = false;
      return `none: ${error.message}: ${error.hint}${without}`;
    }
  });
  return isThere;
}

/**
 * Finds or fetches the PJRT plugin of this host's accelerator; needs the built packages.
 *
 * @param {import('./stage.mjs').Report} report
 * @param {boolean} isForTests whether it is the CPU plugin that tests use
 * @returns {Promise<string>} the word on it
 * @throws {StageError} when there is none
 */
export async function setUpPjrtPlugin(report, isForTests) {
  const { installPlugin } = await import('@weft/backend-pjrt');
  try {
    const onProgress = showProgress(report);
    const { path, reason } = await installPlugin(isForTests ? { platform: 'cpu', onProgress } : { onProgress });
    return `${path}: ${reason}`;
  } catch (error) {
    if (error instanceof Error && 'hint' in error) throw new StageError(error.message, String(error.hint));
    throw error;
  }
}

/**
 * @param {import('./stage.mjs').Report} report
 * @returns {(progress: import('../../packages/native-setup/src/index.mjs').SetupProgress) => void}
 */
function showProgress(report) {
  return (progress) => {
    if (progress.stage === 'note') return report.note(progress.text);
    const { stage, name, bytes, totalBytes } = progress;
    report.update(`${stage} ${name}: ${megabytes(bytes)} of ${megabytes(totalBytes)} MB`);
  };
}

/** @param {number} bytes */
const megabytes = (bytes) => (bytes / 1e6).toFixed(0);
