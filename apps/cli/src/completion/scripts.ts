/** What each shell must run once to complete `weft`: it asks `weft complete -- <words>` for whole words, and takes files where there are none. */
export const COMPLETION_SCRIPTS = {
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
