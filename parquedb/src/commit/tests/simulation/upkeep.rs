//! How a simulated process looks after the log: pins, compactions, garbage.

use super::super::*;
use super::process::Process;
use crate::commit::{CompactOptions, CompactReport, GarbageOptions};

impl Process<'_> {
    pub(super) async fn pin(&self, log: &Log) {
        let world = self.world;
        let name = format!("pin {}", world.below(3));
        if world.one_in(2) {
            let result = log.unpin(&name).await;
            self.outcome("unpin", &result);
            return;
        }
        let life = Duration::from_secs(world.below(24 * 3600));
        let result = log.pin(&name, None, life).await;
        self.outcome("pin", &result);
    }

    pub(super) async fn compact(&self, log: &Log) {
        let min_files = 2 + usize::try_from(self.world.below(3)).unwrap();
        let full = self.world.one_in(4);
        let options = CompactOptions { min_files, target_bytes: 32 << 10, full, ..Default::default() };
        let result = log.compact(options, None).await;
        let did = result.as_ref().ok().map(CompactReport::files_replaced);
        self.world.compacted.set(self.world.compacted.get() + did.unwrap_or(0));
        self.outcome(&format!("compact {did:?}"), &result);
    }

    pub(super) async fn collect(&self, log: &Log) {
        let options = GarbageOptions {
            retention: Duration::from_secs(3600 + self.world.below(3600)),
            orphans_after: Some(Duration::from_secs(24 * 3600)),
            dry_run: self.world.one_in(10),
        };
        let result = log.collect_garbage(options).await;
        let did = result.as_ref().ok().map(|report| (report.floor, report.objects()));
        self.outcome(&format!("collect {did:?}"), &result);
    }
}
