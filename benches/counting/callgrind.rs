//! Runs this very program under callgrind and reads what each part took.

use std::path::Path;
use std::process::Command;

/// Instructions of each call of `measured_part`, in their order.
pub(crate) fn instructions(argument: &str) -> Result<Vec<u64>, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let directory = std::env::temp_dir().join(format!("dispatcher-counts-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
    let counted = run(&program, argument, &directory);
    let _ = std::fs::remove_dir_all(&directory);
    counted
}

fn run(program: &Path, argument: &str, directory: &Path) -> Result<Vec<u64>, String> {
    let out = directory.join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--zero-before=*counted_region*", "--dump-after=*measured_part*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg(argument)
        // Copies by `rep movsb` would count as an instruction per byte.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824")
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    if !output.status.success() {
        return Err(format!("valgrind: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let mut all = Vec::new();
    while let Ok(dump) = std::fs::read_to_string(directory.join(format!("out.{}", all.len() + 1))) {
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        all.push(total.and_then(|n| n.trim().parse().ok()).ok_or("a profile without its sum")?);
    }
    if all.is_empty() { Err("callgrind saw no part: was the program stripped?".into()) } else { Ok(all) }
}

/// All that instruction counts depend on besides the sources.
pub(crate) fn made_with() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or("unknown").trim().to_owned()
    };
    let rustc = said(option_env!("RUSTC").unwrap_or("rustc"), &["--version"]);
    let libc = said("getconf", &["GNU_LIBC_VERSION"]);
    let valgrind = said("valgrind", &["--version"]);
    let arch = std::env::consts::ARCH;
    let avx2 = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" avx2 "));
    format!("{rustc}; {libc}; {valgrind}; {arch}{}", if avx2 { " with AVX2" } else { "" })
}
