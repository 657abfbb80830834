
# Names of models, which only the server knows.
_NAME_models() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]} command previous="" is_value=no is_wanted=yes
    local -a words
    read -ra words <<<"${line%"$word"}"
    command=${words[1]-}
    for previous in "${words[@]:2}"; do
        if [[ $is_value == no && $previous != -* && $command != rm ]]; then
            is_wanted=no
        fi
        case "$command $previous" in
        FLAGS) is_value=yes ;;
        *) is_value=no ;;
        esac
    done
    case " COMMANDS " in
    *" $command "*) ;;
    *) is_wanted=no ;;
    esac
    if [[ $is_wanted == no || $is_value == yes || -z $command || $word == -* ]]; then
        _NAME "$@"
        return
    fi
    local names
    names=$("$1" list 2>/dev/null | awk 'NR > 1 { print $1 }')
    COMPREPLY=($(compgen -W "$names" -- "$word"))
    # Readline takes a colon for the end of a word.
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}
complete -F _NAME_models -o bashdefault -o default NAME
