import { acceleratorPlugin } from '@weft/backend-pjrt';
import { findNccl, NcclLibrary } from '@weft/collectives';
import { WeftError } from '@weft/common';

/** The library, or why there is none, in words that follow "rank 1: ". */
interface LoadedNccl {
  readonly library: NcclLibrary | undefined;
  readonly missing?: string;
}

let loaded: NcclLibrary | undefined;

/** The library beside the plugin of a GPU, or the one that a person names; it stays loaded. Never throws. */
export function loadNccl(): LoadedNccl {
  if (loaded !== undefined) return { library: loaded };
  try {
    const plugin = acceleratorPlugin()?.path;
    const isNamed = Boolean(process.env.WEFT_NCCL_LIBRARY);
    const files = plugin === undefined && !isNamed ? undefined : findNccl({ plugin });
    if (files === undefined) return { library: undefined, missing: 'this process has no NCCL library' };
    loaded = new NcclLibrary(files);
    return { library: loaded };
  } catch (thrown) {
    // Whether that is a fault depends on the settings. The sentence reaches the log either way.
    return { library: undefined, missing: WeftError.from(thrown).message };
  }
}
