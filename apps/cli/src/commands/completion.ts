import type { Command } from 'commander';
import { candidates, runsOfHome } from '../completion/candidates.js';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';

/** A shell that `weft completion` knows. */
export type Shell = keyof typeof COMPLETION_SCRIPTS;

/** `weft completion`: what a shell runs to complete the words of `weft`. */
export function printCompletion({ terminal }: CommandContext, shell: Shell): number {
  terminal.stdout.write(COMPLETION_SCRIPTS[shell]);
  return EXIT.done;
}

/** `weft complete`, which those scripts call: the candidates for the last word, one a line. */
export async function complete(
  { terminal, home }: CommandContext,
  program: Command,
  words: readonly string[],
): Promise<number> {
  const found = await candidates(program, words, {
    runs: async () => ['last', ...(await runsOfHome(home))],
    recipes: async () => Object.keys((await import('@weft/recipes')).recipes),
  });
  terminal.stdout.write(found.map((word) => `${word}\n`).join(''));
  return EXIT.done;
}

/** What each shell must run once to complete `weft`: it asks `weft complete -- <words>` for whole words, and takes files where there are none. */
const COMPLETION_SCRIPTS = {
  bash: `# weft: put  eval "$(weft completion bash)"  into ~/.bashrc
_weft() {
  local IFS=$'\\n'
  COMPREPLY=($(weft complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _weft weft
`,
  zsh: `#compdef weft
# weft: put  eval "$(weft completion zsh)"  into ~/.zshrc, after compinit
_weft() {
  local -a found
  found=("\${(@f)$(weft complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[*]}" ]]; then compadd -a found; else _files; fi
}
compdef _weft weft
`,
  fish: `# weft: put  weft completion fish | source  into ~/.config/fish/config.fish
function __weft
  set -l words (commandline -opc) (commandline -ct)
  weft complete -- $words[2..-1] 2>/dev/null
end
complete -c weft -a '(__weft)'
`,
} as const;
