//! Small file systems, to be filled and made read-only. Takes root.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own in memory; unmounted when dropped.
pub struct Mount(TempDir);

impl Mount {
    /// With mount's options, such as `size=2m`.
    pub fn new(options: &str) -> Mount {
        let mount = Mount(tempfile::tempdir().unwrap());
        mount.call(&["-t", "tmpfs", "-o", options, "tmpfs"]);
        mount
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    pub fn remount(&self, options: &str) {
        self.call(&["-o", &format!("remount,{options}")]);
    }

    #[track_caller]
    fn call(&self, options: &[&str]) {
        let status = Command::new("mount").args(options).arg(self.path()).status().unwrap();
        assert!(status.success(), "this test mounts a file system, which takes root");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
