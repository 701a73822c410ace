//! Runs a cluster until stdin ends or Ctrl-C: `cargo run -p dispatcher-testcontainers --example kafka -- [brokers] [version]`.
//! Its first line of output is the bootstrap address.

use std::io::Read as _;

use dispatcher_testcontainers::{DEFAULT_VERSION, Kafka};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let brokers = args.next().map_or(Ok(1), |n| n.parse())?;
    let version = args.next().unwrap_or_else(|| DEFAULT_VERSION.to_owned());
    let kafka = Kafka::builder().brokers(brokers).version(&version).start()?;
    println!("{}", kafka.bootstrap());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
