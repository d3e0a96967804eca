# SPDX-License-Identifier: Apache-2.0
# bash completion for hubcache

_hubcache()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local common="--server --mount --json --timeout --wait --tls --tls-ca --tls-cert --tls-key --tls-server-name --hub-token-file --token-file -h --help --usage --version"
    local choice="--revision --repo-type --type --local-files-only --force --force-download --max-staleness -q --quiet"
    local repo="--revision --repo-type --type"
    local patterns="--include --exclude --dry-run --list-files --require-complete"
    local command="" word i

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            file | snapshot | download | cat | pull | ls | du | policy | prefetch | evict | verify | rm | prune | pin | unpin | lease | run | info | help) command=$word; break ;;
        esac
    done

    case $previous in
        --mount | --to) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
        --hub-token-file | --token-file | --bearer-token-file | --tls-ca | --tls-cert | --tls-key)
            mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        --repo-type | --type)
            mapfile -t COMPREPLY < <(compgen -W "model dataset space kernel" -- "$current"); return ;;
        --by)
            mapfile -t COMPREPLY < <(compgen -W "repo caller rule" -- "$current"); return ;;
        --sort)
            mapfile -t COMPREPLY < <(compgen -W "name size accessed modified" -- "$current"); return ;;
        --server | --filter | -f | --limit | --timeout | --wait | --tls-server-name | --revision | --max-staleness | --lease | --for | --rate | --as | --group | --unused-for | --reason | --subfolder | --include | --exclude)
            return ;;
    esac

    case $command in
        file) word="$common $choice --subfolder --warm --lease" ;;
        snapshot) word="$common $choice $patterns --warm --lease" ;;
        download) word="$common $choice $patterns --subfolder --warm --lease" ;;
        cat) word="$common $choice --subfolder" ;;
        pull) word="$common $choice --to --include --exclude" ;;
        prefetch) word="$common $choice --include --exclude --no-wait" ;;
        policy)
            word="test $common --as --group"
            [[ $previous == policy ]] && mapfile -t COMPREPLY < <(compgen -W "test" -- "$current") && return ;;
        evict) word="$common --dry-run -y --yes" ;;
        verify) word="$common $repo --repair --dry-run --rate" ;;
        rm) word="$common $repo --include --dry-run -y --yes" ;;
        prune) word="$common --repo-type --type --unused-for --dry-run -y --yes" ;;
        pin) word="$common $repo --reason" ;;
        unpin) word="$common $repo" ;;
        ls) word="$common --revisions --files --filter --sort --limit --quiet --show-warnings -f -q" ;;
        du) word="--by $common" ;;
        lease)
            word="$common $repo --mine --for"
            [[ $previous == lease ]] && mapfile -t COMPREPLY < <(compgen -W "ls renew release" -- "$current") && return ;;
        run) word="$common $choice --include --exclude --lease --" ;;
        info) word=$common ;;
        help) mapfile -t COMPREPLY < <(compgen -W "file snapshot download cat pull ls du policy prefetch evict verify rm prune pin unpin lease run info" -- "$current"); return ;;
        *) word="file snapshot download cat pull ls du policy prefetch evict verify rm prune pin unpin lease run info help $common" ;;
    esac
    [[ -n $command && $current != -* ]] && return
    mapfile -t COMPREPLY < <(compgen -W "$word" -- "$current")
}

complete -F _hubcache hubcache
