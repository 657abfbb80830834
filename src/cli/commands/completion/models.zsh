# Names of models, which only the server knows.
_NAME_models() {
    local -a models
    models=(${(f)"$(_call_program models NAME list 2>/dev/null | awk 'NR > 1 { print $1 }')"})
    compadd "$@" -a models
}

# A model, then files.
_NAME_model() {
    if (( CURRENT > 1 )); then
        _files "$@"
    else
        _NAME_models "$@"
    fi
}

