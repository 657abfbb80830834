
# Names of models, which only the server knows.
function __fish_NAME_wants_model
    set -l words (commandline -opc)
    set -l command $words[2]
    contains -- "$command" COMMANDS
    or return 1
    set -e words[1..2]
    set -l is_value no
    for word in $words
        if test $is_value = no -a $command != rm; and not string match -q -- '-*' $word
            return 1
        end
        set is_value no
        contains -- "$command $word" FLAGS
        and set is_value yes
    end
    test $is_value = no
end
complete -c NAME -n __fish_NAME_wants_model -f -a '(NAME list 2>/dev/null | awk "NR > 1 { print \$1 }")'
