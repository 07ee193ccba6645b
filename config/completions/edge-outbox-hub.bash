_edge__outbox__hub() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="edge__outbox__hub"
                ;;
            edge__outbox__hub,append)
                cmd="edge__outbox__hub__subcmd__append"
                ;;
            edge__outbox__hub,config)
                cmd="edge__outbox__hub__subcmd__config"
                ;;
            edge__outbox__hub,dead-letters)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters"
                ;;
            edge__outbox__hub,doctor)
                cmd="edge__outbox__hub__subcmd__doctor"
                ;;
            edge__outbox__hub,drain)
                cmd="edge__outbox__hub__subcmd__drain"
                ;;
            edge__outbox__hub,erase)
                cmd="edge__outbox__hub__subcmd__erase"
                ;;
            edge__outbox__hub,export)
                cmd="edge__outbox__hub__subcmd__export"
                ;;
            edge__outbox__hub,help)
                cmd="edge__outbox__hub__subcmd__help"
                ;;
            edge__outbox__hub,hub)
                cmd="edge__outbox__hub__subcmd__hub"
                ;;
            edge__outbox__hub,identity)
                cmd="edge__outbox__hub__subcmd__identity"
                ;;
            edge__outbox__hub,init)
                cmd="edge__outbox__hub__subcmd__init"
                ;;
            edge__outbox__hub,receipts)
                cmd="edge__outbox__hub__subcmd__receipts"
                ;;
            edge__outbox__hub,recover)
                cmd="edge__outbox__hub__subcmd__recover"
                ;;
            edge__outbox__hub,relay)
                cmd="edge__outbox__hub__subcmd__relay"
                ;;
            edge__outbox__hub,run)
                cmd="edge__outbox__hub__subcmd__run"
                ;;
            edge__outbox__hub,sinks)
                cmd="edge__outbox__hub__subcmd__sinks"
                ;;
            edge__outbox__hub,status)
                cmd="edge__outbox__hub__subcmd__status"
                ;;
            edge__outbox__hub,tail)
                cmd="edge__outbox__hub__subcmd__tail"
                ;;
            edge__outbox__hub,verify)
                cmd="edge__outbox__hub__subcmd__verify"
                ;;
            edge__outbox__hub__subcmd__config,check)
                cmd="edge__outbox__hub__subcmd__config__subcmd__check"
                ;;
            edge__outbox__hub__subcmd__config,help)
                cmd="edge__outbox__hub__subcmd__config__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__config,show)
                cmd="edge__outbox__hub__subcmd__config__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__config,sql)
                cmd="edge__outbox__hub__subcmd__config__subcmd__sql"
                ;;
            edge__outbox__hub__subcmd__config__subcmd__help,check)
                cmd="edge__outbox__hub__subcmd__config__subcmd__help__subcmd__check"
                ;;
            edge__outbox__hub__subcmd__config__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__config__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__config__subcmd__help,show)
                cmd="edge__outbox__hub__subcmd__config__subcmd__help__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__config__subcmd__help,sql)
                cmd="edge__outbox__hub__subcmd__config__subcmd__help__subcmd__sql"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters,discard)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__discard"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters,help)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters,list)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters,retry)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters,show)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help,discard)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__discard"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help,list)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help,retry)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help,show)
                cmd="edge__outbox__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__help,append)
                cmd="edge__outbox__hub__subcmd__help__subcmd__append"
                ;;
            edge__outbox__hub__subcmd__help,config)
                cmd="edge__outbox__hub__subcmd__help__subcmd__config"
                ;;
            edge__outbox__hub__subcmd__help,dead-letters)
                cmd="edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters"
                ;;
            edge__outbox__hub__subcmd__help,doctor)
                cmd="edge__outbox__hub__subcmd__help__subcmd__doctor"
                ;;
            edge__outbox__hub__subcmd__help,drain)
                cmd="edge__outbox__hub__subcmd__help__subcmd__drain"
                ;;
            edge__outbox__hub__subcmd__help,erase)
                cmd="edge__outbox__hub__subcmd__help__subcmd__erase"
                ;;
            edge__outbox__hub__subcmd__help,export)
                cmd="edge__outbox__hub__subcmd__help__subcmd__export"
                ;;
            edge__outbox__hub__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__help,hub)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub"
                ;;
            edge__outbox__hub__subcmd__help,identity)
                cmd="edge__outbox__hub__subcmd__help__subcmd__identity"
                ;;
            edge__outbox__hub__subcmd__help,init)
                cmd="edge__outbox__hub__subcmd__help__subcmd__init"
                ;;
            edge__outbox__hub__subcmd__help,receipts)
                cmd="edge__outbox__hub__subcmd__help__subcmd__receipts"
                ;;
            edge__outbox__hub__subcmd__help,recover)
                cmd="edge__outbox__hub__subcmd__help__subcmd__recover"
                ;;
            edge__outbox__hub__subcmd__help,relay)
                cmd="edge__outbox__hub__subcmd__help__subcmd__relay"
                ;;
            edge__outbox__hub__subcmd__help,run)
                cmd="edge__outbox__hub__subcmd__help__subcmd__run"
                ;;
            edge__outbox__hub__subcmd__help,sinks)
                cmd="edge__outbox__hub__subcmd__help__subcmd__sinks"
                ;;
            edge__outbox__hub__subcmd__help,status)
                cmd="edge__outbox__hub__subcmd__help__subcmd__status"
                ;;
            edge__outbox__hub__subcmd__help,tail)
                cmd="edge__outbox__hub__subcmd__help__subcmd__tail"
                ;;
            edge__outbox__hub__subcmd__help,verify)
                cmd="edge__outbox__hub__subcmd__help__subcmd__verify"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__config,check)
                cmd="edge__outbox__hub__subcmd__help__subcmd__config__subcmd__check"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__config,show)
                cmd="edge__outbox__hub__subcmd__help__subcmd__config__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__config,sql)
                cmd="edge__outbox__hub__subcmd__help__subcmd__config__subcmd__sql"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters,discard)
                cmd="edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__discard"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters,list)
                cmd="edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters,retry)
                cmd="edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters,show)
                cmd="edge__outbox__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,devices)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,erase)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__erase"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,import)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,key)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__key"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,new-life)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__new__subcmd__life"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,quarantine)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,report)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__report"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,run)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__run"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub,verify)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__verify"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices,add)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__add"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices,import)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices,list)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices,revoke)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__revoke"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine,drop)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__drop"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine,list)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine,retry)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine,show)
                cmd="edge__outbox__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__sinks,forget)
                cmd="edge__outbox__hub__subcmd__help__subcmd__sinks__subcmd__forget"
                ;;
            edge__outbox__hub__subcmd__help__subcmd__sinks,list)
                cmd="edge__outbox__hub__subcmd__help__subcmd__sinks__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub,devices)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices"
                ;;
            edge__outbox__hub__subcmd__hub,erase)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__erase"
                ;;
            edge__outbox__hub__subcmd__hub,help)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__hub,import)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__hub,key)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__key"
                ;;
            edge__outbox__hub__subcmd__hub,new-life)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__new__subcmd__life"
                ;;
            edge__outbox__hub__subcmd__hub,quarantine)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine"
                ;;
            edge__outbox__hub__subcmd__hub,report)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__report"
                ;;
            edge__outbox__hub__subcmd__hub,run)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__run"
                ;;
            edge__outbox__hub__subcmd__hub,verify)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__verify"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices,add)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__add"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices,help)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices,import)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices,list)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices,revoke)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__revoke"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help,add)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__add"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help,import)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help,list)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help,revoke)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__revoke"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,devices)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,erase)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__erase"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,import)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,key)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__key"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,new-life)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__new__subcmd__life"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,quarantine)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,report)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__report"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,run)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__run"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help,verify)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__verify"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices,add)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__add"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices,import)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__import"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices,list)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices,revoke)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__revoke"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine,drop)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__drop"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine,list)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine,retry)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine,show)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine,drop)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__drop"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine,help)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine,list)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine,retry)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine,show)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help,drop)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__drop"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help,list)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help,retry)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__retry"
                ;;
            edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help,show)
                cmd="edge__outbox__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__show"
                ;;
            edge__outbox__hub__subcmd__sinks,forget)
                cmd="edge__outbox__hub__subcmd__sinks__subcmd__forget"
                ;;
            edge__outbox__hub__subcmd__sinks,help)
                cmd="edge__outbox__hub__subcmd__sinks__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__sinks,list)
                cmd="edge__outbox__hub__subcmd__sinks__subcmd__list"
                ;;
            edge__outbox__hub__subcmd__sinks__subcmd__help,forget)
                cmd="edge__outbox__hub__subcmd__sinks__subcmd__help__subcmd__forget"
                ;;
            edge__outbox__hub__subcmd__sinks__subcmd__help,help)
                cmd="edge__outbox__hub__subcmd__sinks__subcmd__help__subcmd__help"
                ;;
            edge__outbox__hub__subcmd__sinks__subcmd__help,list)
                cmd="edge__outbox__hub__subcmd__sinks__subcmd__help__subcmd__list"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        edge__outbox__hub)
            opts="-h -V --config --data-dir --help --version run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__append)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config)
            opts="-h --config --data-dir --help check show sql help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__check)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__help)
            opts="check show sql help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__help__subcmd__check)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__help__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__help__subcmd__sql)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__show)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__config__subcmd__sql)
            opts="-h --hub --hub-inbox --relay --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters)
            opts="-h --config --data-dir --help list show retry discard help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__discard)
            opts="-h --all --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__help)
            opts="list show retry discard help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__discard)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__retry)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__help__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__list)
            opts="-h --sink --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --sink)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__retry)
            opts="-h --all --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__dead__subcmd__letters__subcmd__show)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__doctor)
            opts="-h --sink --probe --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --sink)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__drain)
            opts="-h --timeout --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__erase)
            opts="-h --id --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --id)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__export)
            opts="-h --from --sink --force --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --sink)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help)
            opts="run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__append)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__config)
            opts="check show sql"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__config__subcmd__check)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__config__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__config__subcmd__sql)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__dead__subcmd__letters)
            opts="list show retry discard"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__discard)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__retry)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__dead__subcmd__letters__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__doctor)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__drain)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__erase)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__export)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub)
            opts="run key devices import report quarantine erase new-life verify"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__devices)
            opts="add import list revoke"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__add)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__import)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__devices__subcmd__revoke)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__erase)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__import)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__key)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__new__subcmd__life)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__quarantine)
            opts="list show retry drop"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__drop)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__retry)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__quarantine__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__report)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__run)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__hub__subcmd__verify)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__identity)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__init)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__receipts)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__recover)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__relay)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__run)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__sinks)
            opts="list forget"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__sinks__subcmd__forget)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__sinks__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__status)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__tail)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__help__subcmd__verify)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub)
            opts="-h --config --data-dir --help run key devices import report quarantine erase new-life verify help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices)
            opts="-h --config --data-dir --help add import list revoke help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__add)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__help)
            opts="add import list revoke help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__add)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__import)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__help__subcmd__revoke)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__import)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__list)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__devices__subcmd__revoke)
            opts="-h --good-upto --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --good-upto)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__erase)
            opts="-h --id --note --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --id)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --note)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help)
            opts="run key devices import report quarantine erase new-life verify help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__devices)
            opts="add import list revoke"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__add)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__import)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__devices__subcmd__revoke)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__erase)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__import)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__key)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__new__subcmd__life)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__quarantine)
            opts="list show retry drop"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__drop)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__retry)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__quarantine__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__report)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__run)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__help__subcmd__verify)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__import)
            opts="-h --receipts --force --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --receipts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__key)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__new__subcmd__life)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine)
            opts="-h --config --data-dir --help list show retry drop help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__drop)
            opts="-h --reason --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --reason)
                    COMPREPLY=($(compgen -W "unreadable unknown_device unknown_key wrong_device revoked_key retired_key second_successor key_of_epoch too_many_epochs altered forged stripped refused_by_database" -- "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__help)
            opts="list show retry drop help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__drop)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__retry)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__help__subcmd__show)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 5 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__list)
            opts="-h --reason --device --limit --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --reason)
                    COMPREPLY=($(compgen -W "unreadable unknown_device unknown_key wrong_device revoked_key retired_key second_successor key_of_epoch too_many_epochs altered forged stripped refused_by_database" -- "${cur}"))
                    return 0
                    ;;
                --device)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__retry)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__quarantine__subcmd__show)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__report)
            opts="-h --problems --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__run)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__hub__subcmd__verify)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__identity)
            opts="-h --json --qr --qr-svg --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --qr-svg)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__init)
            opts="-h --device --sink --url --ca-file --credentials-file --user --password-file --password-env --password-stdin --listen --force --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --device)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --sink)
                    COMPREPLY=($(compgen -W "nats mqtt postgres none" -- "${cur}"))
                    return 0
                    ;;
                --url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ca-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --credentials-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --user)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --password-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --password-env)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__receipts)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__recover)
            opts="-h --json --anyway --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__relay)
            opts="-h --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__run)
            opts="-h --listen --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks)
            opts="-h --config --data-dir --help list forget help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks__subcmd__forget)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks__subcmd__help)
            opts="list forget help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks__subcmd__help__subcmd__forget)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks__subcmd__help__subcmd__help)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks__subcmd__help__subcmd__list)
            opts=""
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 4 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__sinks__subcmd__list)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__status)
            opts="-h --json --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__tail)
            opts="-f -h --from --follow --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        edge__subcmd__outbox__subcmd__hub__subcmd__verify)
            opts="-h --public-key --alone --config --data-dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --public-key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --data-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _edge__outbox__hub -o nosort -o bashdefault -o default edge-outbox-hub
else
    complete -F _edge__outbox__hub -o bashdefault -o default edge-outbox-hub
fi
