# SPDX-License-Identifier: Apache-2.0
# bash completion for hubcache

_hubcache()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local common="--server --mount --json --timeout --hub-token-file --bearer-token-file --help --usage --version"
    local choice="--revision --repo-type --local-files-only --force --max-staleness"
    local command="" word i

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            file | snapshot | info) command=$word; break ;;
        esac
    done

    case $previous in
        --mount) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
        --hub-token-file | --bearer-token-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --repo-type)
            mapfile -t COMPREPLY < <(compgen -W "model dataset space kernel" -- "$current"); return ;;
        --server | --timeout | --revision | --max-staleness | --subfolder | --include | --exclude)
            return ;;
    esac

    case $command in
        file) word="$common $choice --subfolder" ;;
        snapshot) word="$common $choice --include --exclude --dry-run --quiet" ;;
        info) word=$common ;;
        *) word="file snapshot info $common" ;;
    esac
    [[ -n $command && $current != -* ]] && return
    mapfile -t COMPREPLY < <(compgen -W "$word" -- "$current")
}

complete -F _hubcache hubcache
