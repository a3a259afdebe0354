//! `serve`: the HTTP endpoint.

use super::{Failure, shown};
use clap::Args;
use parquedb_tail::TailDb;
use parquedb_tail::http::{Options, router};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long requests under way may take once the server was told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serve the endpoint that Tail Workers and Logpush post to.
///
/// POST / takes an array, an object or NDJSON, gzip or not, and answers once the events are stored:
/// {"accepted": 1, "dead_letters": 0, "repeated": false, "seq": 7}. The header x-tail-batch-id makes a
/// post repeatable: the second one stores nothing. GET /health tells that the server runs.
///
/// Posts must show the bearer token in PARQUEDB_TAIL_TOKEN. Without that variable only loopback
/// addresses can be served, unless --allow-anonymous is given. Scheduled views are refreshed when due.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parquedb-tail serve --to ./data
  PARQUEDB_TAIL_TOKEN=… parquedb-tail serve --listen 0.0.0.0:8080 --to s3://tail/prod")]
pub(crate) struct Serve {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    /// Where the database lives.
    #[arg(long, value_name = "URL")]
    to: String,
    /// Largest body, before and after decompression: bytes, or with KB, MB.
    #[arg(long, default_value = "10MB", value_name = "SIZE", value_parser = size)]
    max_body: usize,
    /// Most posts under way at once; more are answered 503.
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_in_flight: usize,
    /// Seconds between looks at the schedules of the views.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    schedule_every: u64,
    /// Accept posts without a token from other machines.
    #[arg(long)]
    allow_anonymous: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        super::log("info");
        let token = std::env::var("PARQUEDB_TAIL_TOKEN").ok().filter(|token| !token.trim().is_empty());
        if token.is_none() {
            if !self.listen.ip().is_loopback() && !self.allow_anonymous {
                return Err(Failure::new(format!(
                    "{} can be reached from other machines: set PARQUEDB_TAIL_TOKEN, or allow anybody to \
                     post with --allow-anonymous",
                    self.listen
                )));
            }
            tracing::warn!("PARQUEDB_TAIL_TOKEN is not set: posts are accepted without a token");
        }
        let database = Arc::new(TailDb::open(&self.to).await?);
        let token = token.map(|token| token.trim().to_owned());
        let options = Options { token, max_body: self.max_body, max_in_flight: self.max_in_flight };
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| Failure::new(format!("cannot listen on {}: {error}", self.listen)))?;
        tracing::info!(address = %listener.local_addr()?, database = shown(&self.to), "serving");

        let (stop, stopped) = watch::channel(false);
        let schedules = tokio::spawn(refresh_when_due(
            Arc::clone(&database),
            Duration::from_secs(self.schedule_every),
            stopped.clone(),
        ));
        let app = router(Arc::clone(&database), &options);
        let server = tokio::spawn(
            axum::serve(listener, app).with_graceful_shutdown(until_stopped(stopped)).into_future(),
        );
        let signal = signalled().await?;
        tracing::info!(signal, "stopping once the requests under way are answered");
        stop.send_replace(true);
        match tokio::time::timeout(DRAIN, server).await {
            Ok(served) => served??,
            Err(_) => tracing::warn!("requests were still under way after {} s", DRAIN.as_secs()),
        }
        schedules.await?;
        database.flush().await?;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: stop then, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn refresh_when_due(database: Arc<TailDb>, every: Duration, stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = until_stopped(stopped.clone()) => return,
            _ = ticks.tick() => {}
        }
        match database.run_due(database.now()).await {
            Ok(refreshed) if refreshed.is_empty() => {}
            Ok(refreshed) => tracing::info!(views = refreshed.join(", "), "refreshed"),
            Err(error) => {
                tracing::error!(kind = ?error.kind(), %error, "scheduled refresh failed, it will be tried again");
            }
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signalled() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => interrupt.map(|()| "SIGINT"),
            _ = terminate.recv() => Ok("SIGTERM"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.map(|()| "interrupt")
    }
}

/// Reads `1000`, `64KB`, `10MB`, `1GB` (decimal).
fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        unit => return Err(format!("`{unit}` is no unit of size; use B, KB, MB or GB")),
    };
    let number: usize = digits.trim().parse().map_err(|_| format!("`{text}` is no size"))?;
    number.checked_mul(unit).filter(|&size| size > 0).ok_or_else(|| format!("`{text}` is no size"))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("64kb"), Ok(64_000));
        assert_eq!(size("5"), Ok(5));
        assert!(size("0").is_err() && size("MB").is_err() && size("5TB").is_err());
    }
}
