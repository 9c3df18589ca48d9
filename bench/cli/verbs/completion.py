"""`bench completion`: let the shell complete verbs, keys, choices, flags, runs and claims."""

from __future__ import annotations

from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.values.errors import InputError, nearest

VERB = Verb(
    usage=("bench completion bash|zsh|fish",),
    more="Prints what the shell runs; put one of these into its start-up file:\n"
    '  eval "$(bench completion bash)"       ~/.bashrc\n'
    '  eval "$(bench completion zsh)"        ~/.zshrc, after compinit\n'
    "  bench completion fish | source        ~/.config/fish/config.fish",
    words="any",
)

# The shell hands over whole words (bash splits its own at `=`: its line is split here at blanks),
# and gets whole words back; a key that ends in `=` takes no blank behind it.
BASH = r"""_bench() {
    local line=${COMP_LINE:0:COMP_POINT} words typed prefix
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    typed=${words[${#words[@]}-1]}
    mapfile -t COMPREPLY < <("${words[0]}" completion words -- "${words[@]:1}" 2>/dev/null)
    [[ $COMP_WORDBREAKS == *=* && $typed == *=* ]] && prefix=${typed%"${typed##*=}"} &&
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -o default -F _bench bench"""
ZSH = r"""_bench() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    found=(${found:#})
    (( $#found )) || { _files; return }
    compadd -S '' -- ${(M)found:#*=}
    compadd -- ${found:#*=}
}
compdef _bench bench"""
FISH = r"""complete -c bench -e
complete -c bench -a '(bench completion words -- (commandline -opc)[2..] (commandline -ct))'"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def call(arguments: Arguments) -> int:
    """Print a shell's script, or (`words -- …`, for those scripts) what may follow."""
    from bench.cli.completion import candidates

    asked, *rest = arguments.words or ("",)
    if asked == "words":
        print("\n".join(candidates(rest)))
        return 0
    if asked in SHELLS and rest:
        raise InputError(f"bench completion takes one shell: leave {rest[0]!r} out.")
    if asked not in SHELLS:
        raise InputError(
            f"bench completion takes a shell: {', '.join(SHELLS)}.{nearest(asked, SHELLS)}"
        )
    print(SHELLS[asked])
    return 0
