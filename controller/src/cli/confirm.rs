//! The confirmation ladder: reading never asks; stopping many nodes asks y/N; writing files shows
//! them first; wiping wants the cluster's name typed. Without a terminal a missing confirmation ends
//! with status 6 and never hangs.

use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};

use super::exit::Exit;
use super::output::can_ask;
use super::session::Stop;

/// Asks for `y`; everything else is no.
///
/// # Errors
/// Interrupted, or the terminal is gone.
pub async fn yes(question: String) -> Result<bool, Stop> {
    let answer = ask(question).await?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Goes on only when the user says yes.
///
/// # Errors
/// Status 6: nobody can be asked, or the answer is no.
pub async fn require_yes(question: String, what: &str) -> Result<(), Stop> {
    if !can_ask() {
        return Err(Stop::new(Exit::Unconfirmed, format!("{what} needs a confirmation; pass --yes")));
    }
    if yes(format!("{question} [y/N] ")).await? { Ok(()) } else { Err(declined()) }
}

/// Goes on only when the user types the cluster's name.
///
/// # Errors
/// Status 6: nobody can be asked, or something else was typed.
pub async fn require_name(question: &str, name: &str) -> Result<(), Stop> {
    let typed = ask(format!("{question}\nType the cluster's name ({name}) to go on: ")).await?;
    if typed.trim() == name { Ok(()) } else { Err(declined()) }
}

fn declined() -> Stop {
    Stop::new(Exit::Unconfirmed, "not confirmed; nothing was changed")
}

/// Talks to the terminal itself, because stdout is for data only.
async fn ask(question: String) -> Result<String, Stop> {
    let read = move || {
        let config = Config::builder().behavior(Behavior::PreferTerm).auto_add_history(false).build();
        // Only the last line is a prompt: the editor redraws it.
        let (before, prompt) = question.rsplit_once('\n').map_or(("", question.as_str()), |parts| parts);
        if !before.is_empty() {
            super::output::talk(before);
        }
        DefaultEditor::with_config(config)?.readline(prompt)
    };
    let answer = tokio::task::spawn_blocking(read).await;
    match answer {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(ReadlineError::Interrupted)) => {
            Err(Stop::new(Exit::Interrupted, "interrupted; nothing was changed"))
        }
        Ok(Err(ReadlineError::Eof)) => Err(declined()),
        Ok(Err(error)) => Err(Stop::new(Exit::Unconfirmed, format!("cannot ask on this terminal: {error}"))),
        Err(_) => Err(Stop::new(Exit::Unconfirmed, "cannot ask on this terminal")),
    }
}
