//! What the crossing into DPDK costs: frames go from each of two ports to the other, unseen.
//!
//! ```text
//! bare_loop DEVICE DEVICE [--seconds N] [--main-core N] [--core N] [--buffers N] [--cache N] [-- EAL ARGUMENTS]
//! ```
//!
//! Prints the frames received on both ports, in millions per second: each second's, and the mean.

use dataplane::names::ids::EthPortId;

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, FrameIo};
use dpdk::{Eal, EalOptions, EthPort, Mbuf, Pool, PortConfig, Queues};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Options {
    devices: [String; 2],
    seconds: u32,
    main_core: usize,
    core: usize,
    buffers: u32,
    cache: u32,
    eal: Vec<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("bare_loop: {what}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut arguments = std::env::args().skip(1);
    let mut devices = Vec::new();
    let mut options = Options {
        devices: Default::default(),
        seconds: 2,
        main_core: 0,
        core: 1,
        buffers: 32768,
        cache: 250,
        eal: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse::<u32>().ok()).ok_or("a number is missing");
        match argument.as_str() {
            "--seconds" => options.seconds = number()?,
            "--main-core" => options.main_core = number()? as usize,
            "--core" => options.core = number()? as usize,
            "--buffers" => options.buffers = number()?,
            "--cache" => options.cache = number()?,
            "--" => options.eal.extend(arguments.by_ref()),
            _ => devices.push(argument),
        }
    }
    options.devices = devices.try_into().map_err(|_| "two devices are needed")?;
    Ok(options)
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let eal = Eal::start(&EalOptions {
        program_name: "bare_loop".into(),
        main_core: options.main_core,
        worker_cores: vec![options.core],
        devices: options.devices.to_vec(),
        extra_arguments: options.eal.clone(),
        ..EalOptions::default()
    })?;
    eprintln!("{}, {}", Eal::version(), eal.memory());
    let mut ports = Vec::new();
    // One for both ports, as testpmd has it.
    let pool = Pool::new(&eal, "both", options.buffers, options.cache, 2048, None)?;
    for device in &options.devices {
        let mut port = EthPort::open(&eal, device)?;
        let pools = vec![pool.clone()];
        port.configure(PortConfig {
            pools,
            tx_queues: 1,
            descriptors: None,
            mtu: Some(1500),
            interface_mtu: None,
            promiscuous: true,
            all_multicast: false,
            rss: None,
        })?;
        port.start()?;
        for note in port.notes() {
            eprintln!("{device}: {note}");
        }
        ports.push(port);
    }
    let queues: Option<Vec<_>> = ports.iter().map(|port| port.queue(0)).collect();
    let queues = Queues::new(queues.ok_or("a port has no queue")?);

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let worker = eal.launch(0, Box::new(move || forward(queues, &stopped)))?;
    let received = || ports.iter().map(|p| p.stats().map_or(0, |s| s.rx_packets)).sum::<u64>();
    let (begun, first) = (Instant::now(), received());
    let (mut last_time, mut last) = (begun, first);
    for second in 1..=options.seconds {
        std::thread::sleep(Duration::from_secs(second.into()).saturating_sub(begun.elapsed()));
        let (time, count) = (Instant::now(), received());
        println!("second {second}: {:.2} Mpps", rate(count - last, time - last_time));
        (last_time, last) = (time, count);
    }
    println!("total: {:.2} Mpps", rate(last - first, last_time - begun));
    stop.store(true, Ordering::Relaxed);
    Ok(worker.join()?)
}

fn rate(frames: u64, time: Duration) -> f64 {
    frames as f64 / time.as_secs_f64() / 1e6
}

fn forward(mut queues: Queues, stop: &AtomicBool) {
    let mut frames = ArrayVec::<Mbuf, BURST>::new();
    while !stop.load(Ordering::Relaxed) {
        for port in [0, 1] {
            queues.receive(EthPortId(port), &mut frames);
            queues.transmit(EthPortId(port ^ 1), &mut frames);
            // What the device did not take is dropped, as testpmd does.
            Mbuf::free_all(&mut frames);
        }
    }
}
