//! `$refresh: { mode: scheduled, schedule: "0 * * * *", tz: "Europe/Paris" }`.

use super::columns::braces;
use crate::errors::{Errors, parse_all, split};
use crate::names::nearest;
use syn::parse::ParseStream;
use syn::{Ident, LitStr, Result, Token};

/// When a view absorbs its source's changes.
pub(crate) enum Refresh {
    Streaming,
    Scheduled { schedule: LitStr, tz: Option<LitStr> },
    Manual,
}

const MODES: [&str; 3] = ["streaming", "scheduled", "manual"];
const OPTIONS: [&str; 4] = ["mode", "schedule", "tz", "incremental"];
const PLANNED: [&str; 8] =
    ["stagger", "delay", "every", "lag", "strategy", "gracePeriod", "backend", "fallback"];

/// When a view absorbs its source's changes, and whether it must never compute groups again to do so.
pub(crate) fn refresh(directive: &Ident, input: ParseStream, errors: &mut Errors) -> Result<(Refresh, bool)> {
    let mut incremental: Option<Ident> = None;
    let mut mode: Option<Ident> = None;
    let mut schedule: Option<LitStr> = None;
    let mut tz: Option<LitStr> = None;
    for part in split(braces(directive, input)?) {
        let option = parse_all(part, |input| {
            let name: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            match name.to_string().as_str() {
                "mode" => mode = Some(input.parse()?),
                "schedule" => schedule = Some(input.parse()?),
                "tz" => tz = Some(input.parse()?),
                "incremental" => incremental = Some(input.parse()?),
                other => return Err(unknown(&name, other)),
            }
            Ok(())
        });
        errors.check(option);
    }
    if let Some(schedule) = &schedule
        && let Err(why) = cron(&schedule.value())
    {
        errors.at(schedule.span(), format!("invalid cron schedule: {why}"));
    }
    if let Some(other) = incremental.as_ref().filter(|incremental| *incremental != "strict") {
        errors.at(other.span(), format!("unknown value `{other}`: the only one is `incremental: strict`"));
    }
    let is_strict = incremental.is_some();
    let chosen = mode.as_ref().map(Ident::to_string);
    let refresh = match (chosen.as_deref(), schedule) {
        (None, None) if is_strict => without_zone(tz, Refresh::Streaming),
        (Some("scheduled") | None, Some(schedule)) => Ok(Refresh::Scheduled { schedule, tz }),
        (Some("scheduled"), None) => Err(syn::Error::new(
            directive.span(),
            "a scheduled view needs its times: `schedule: \"0 * * * *\"`",
        )),
        (None, None) => Err(syn::Error::new(
            directive.span(),
            "`$refresh` needs a `mode` (streaming, scheduled or manual) or a `schedule`",
        )),
        (Some(mode @ ("streaming" | "manual")), Some(schedule)) => Err(syn::Error::new(
            schedule.span(),
            format!("a {mode} view has no schedule: write `mode: scheduled`"),
        )),
        (Some("streaming"), None) => without_zone(tz, Refresh::Streaming),
        (Some("manual"), None) => without_zone(tz, Refresh::Manual),
        (Some(other), _) => {
            let hint = nearest(other, MODES).map_or_else(
                || "expected streaming, scheduled or manual".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let span = mode.as_ref().map_or_else(|| directive.span(), Ident::span);
            Err(syn::Error::new(span, format!("unknown mode `{other}`, {hint}")))
        }
    };
    refresh.map(|refresh| (refresh, is_strict))
}

fn without_zone(tz: Option<LitStr>, refresh: Refresh) -> Result<Refresh> {
    match tz {
        Some(tz) => Err(syn::Error::new(tz.span(), "a time zone needs a `schedule`")),
        None => Ok(refresh),
    }
}

fn unknown(name: &Ident, found: &str) -> syn::Error {
    if PLANNED.contains(&found) {
        return syn::Error::new(
            name.span(),
            format!("`{found}` is not supported yet; supported options: {}", OPTIONS.join(", ")),
        );
    }
    match nearest(found, OPTIONS) {
        Some(near) => {
            syn::Error::new(name.span(), format!("unknown option `{found}`, did you mean `{near}`?"))
        }
        None => syn::Error::new(
            name.span(),
            format!("unknown option `{found}`, expected one of {}", OPTIONS.join(", ")),
        ),
    }
}

/// What is wrong with a cron expression. Plain numbers out of range are named here, because that is the
/// usual mistake; everything else is judged by the parser that the scheduler uses.
fn cron(text: &str) -> std::result::Result<(), String> {
    const FIELDS: [(&str, u32, u32); 5] = [
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of the month", 1, 31),
        ("month", 1, 12),
        ("day of the week", 0, 7),
    ];
    if !text.starts_with('@') {
        let parts: Vec<&str> = text.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(format!("expected 5 fields (minute hour day month weekday), found {}", parts.len()));
        }
        for (part, (name, least, greatest)) in parts.iter().zip(FIELDS) {
            for number in
                part.split(',').filter_map(|item| item.split('/').next()).flat_map(|range| range.split('-'))
            {
                if let Ok(value) = number.parse::<u32>()
                    && !(least..=greatest).contains(&value)
                {
                    return Err(format!("`{value}` is not a valid {name} ({least}-{greatest})"));
                }
            }
        }
    }
    croner::parser::CronParser::new().parse(text).map(|_| ()).map_err(|error| error.to_string())
}
