//! `sepconv bench --overhead`: what the host spends on a dispatch, and what the checks cost that this library leaves
//! out.

use std::fmt;
use std::time::{Duration, Instant};

use sepconv::timing::repeat;
use sepconv::{Bound, Context, Conv2d, Operands, Parameters, Tensor};
use serde_json::{Value, json};

use super::row::time;
use crate::failure::Outcome;
use crate::output::{progress, table};
use crate::shapes::{Kernels, Shape};

/// How many layers are recorded into one submission.
const CHAINS: [u32; 4] = [1, 10, 100, 1000];

/// For how long each of the host's figures is measured.
const BUDGET: Duration = Duration::from_millis(300);

/// What was measured. A host's times are medians in microseconds.
pub struct Overhead {
    chains: Vec<Chain>,
    /// The longest chain with nothing of this library in it.
    by_hand: Chain,
    /// [`Bound::run`], without the device being done.
    run: f64,
    /// The same calls, without what makes errors of what would else be panics.
    unguarded_run: f64,
    checks: Vec<CheckedLayer>,
}

/// The host's times for one submission of so many layers.
struct Chain {
    layers: u32,
    /// Recording them into a pass.
    record: f64,
    /// Ending the pass and the encoder, which is where `wgpu` checks and encodes what was recorded.
    finish: f64,
    submit: f64,
    /// Until the device is done.
    wait: f64,
}

/// A layer's milliseconds by the caller's clock, with different things compiled into its kernels.
struct CheckedLayer {
    id: String,
    kernel: String,
    as_planned: f64,
    runtime_checks: f64,
    zeroed_workgroup_memory: f64,
}

/// Measures all of it: the host's part with the smallest layer there is, the checks with these.
pub fn measure(context: &Context, shapes: &[Shape], kernels: Kernels) -> Outcome<Overhead> {
    let progress = progress(1 + shapes.len());
    progress.set_message("the host");
    let layers = smallest_layers(context)?;
    let record = |pass: &mut wgpu::ComputePass, index: usize| layers[index % 2].record(pass);
    let chains = CHAINS.map(|layers| Chain::measure(context, layers, record));
    let by_hand = Chain::measure(context, CHAINS[CHAINS.len() - 1], by_hand(context))?;
    let unguarded = || {
        let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        layers[0].encode(&mut encoder);
        context.queue().submit([encoder.finish()]);
        Ok(())
    };
    // One after the other, so that a disturbance meets both alike.
    let [run, unguarded_run] =
        repeat(BUDGET, || Ok([submission(context, || layers[0].run())?, submission(context, unguarded)?]))?;
    let measured = Overhead {
        chains: chains.into_iter().collect::<Outcome<_>>()?,
        by_hand,
        run: run.median,
        unguarded_run: unguarded_run.median,
        checks: Vec::new(),
    };
    progress.inc(1);

    let contexts = [context.clone(), context.with_runtime_checks(true), context.with_zeroed_workgroup_memory(true)];
    let mut checks = Vec::new();
    for shape in shapes {
        progress.set_message(shape.id.clone());
        let [as_planned, checked, zeroed] = contexts.each_ref().map(|context| shape.candidates(context, kernels));
        for ((as_planned, checked), zeroed) in as_planned?.iter().zip(&checked?).zip(&zeroed?) {
            let timings = time(context, &[as_planned, checked, zeroed])?;
            checks.push(CheckedLayer {
                id: shape.id.clone(),
                kernel: as_planned.kernel.clone(),
                as_planned: timings[0].wall.median,
                runtime_checks: timings[1].wall.median,
                zeroed_workgroup_memory: timings[2].wall.median,
            });
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(Overhead { checks, ..measured })
}

/// Two layers that compute one value each, the one from what the other computes.
fn smallest_layers(context: &Context) -> Outcome<[Bound; 2]> {
    let shape = [1, 1, 1, 1];
    let plan = Conv2d::new(1, 1, 1).bias(false).plan(context, shape)?;
    let tensor = || Tensor::from_slice(context, shape, &[1.0]);
    let (weight, first, second) = (tensor()?, tensor()?, tensor()?);
    let weights = plan.weights(&Parameters::new(&weight))?;
    let bind = |input, output| plan.bind(&weights, Operands::new(input, output));
    Ok([bind(&first, &second)?, bind(&second, &first)?])
}

/// The three calls of a dispatch, with a shader that does nothing.
fn by_hand(context: &Context) -> impl Fn(&mut wgpu::ComputePass, usize) {
    let device = context.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl("@compute @workgroup_size(1) fn main() {}".into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &[] });
    // wgpu does not record a group that is set already.
    let bind_groups = [(); 2]
        .map(|()| device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &[] }));
    move |pass, index| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_groups[index % 2], &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

impl Chain {
    fn measure(context: &Context, layers: u32, record: impl Fn(&mut wgpu::ComputePass, usize)) -> Outcome<Self> {
        let stages = repeat(BUDGET, || once(context, layers, &record))?;
        let [record, finish, submit, wait] = stages.map(|stage| stage.median);
        Ok(Self { layers, record, finish, submit, wait })
    }

    fn total(&self) -> f64 {
        self.record + self.finish + self.submit + self.wait
    }

    fn record_each(&self) -> f64 {
        self.record / f64::from(self.layers)
    }
}

/// Microseconds of recording, finishing, submitting and waiting.
fn once(context: &Context, layers: u32, record: impl Fn(&mut wgpu::ComputePass, usize)) -> sepconv::Result<[f64; 4]> {
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let start = Instant::now();
    (0..layers as usize).for_each(|index| record(&mut pass, index));
    let recorded = Instant::now();
    drop(pass);
    let commands = encoder.finish();
    let finished = Instant::now();
    context.queue().submit([commands]);
    let submitted = Instant::now();
    context.wait_blocking()?;
    let done = Instant::now();
    Ok([recorded - start, finished - recorded, submitted - finished, done - submitted].map(microseconds))
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The microseconds of a call that submits to an idle device.
fn submission(context: &Context, submit: impl FnOnce() -> sepconv::Result<()>) -> sepconv::Result<f64> {
    let start = Instant::now();
    submit()?;
    let submitted = start.elapsed();
    context.wait_blocking()?;
    Ok(microseconds(submitted))
}

impl Overhead {
    pub fn json(&self) -> Value {
        let chain = |chain: &Chain| {
            json!({
                "layers": chain.layers,
                "record_us": chain.record,
                "finish_us": chain.finish,
                "submit_us": chain.submit,
                "wait_us": chain.wait,
            })
        };
        json!({
            "chains": self.chains.iter().map(chain).collect::<Vec<_>>(),
            "by_hand": chain(&self.by_hand),
            "run_us": self.run,
            "unguarded_run_us": self.unguarded_run,
            "checks": self.checks.iter().map(|layer| json!({
                "id": layer.id,
                "kernel": layer.kernel,
                "median_ms": layer.as_planned,
                "runtime_checks_ms": layer.runtime_checks,
                "zeroed_workgroup_memory_ms": layer.zeroed_workgroup_memory,
            })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["layers in one submission", "record", "finish", "submit", "wait", "all, per layer"];
        let mut chains = table(&header, 0..header.len());
        for chain in &self.chains {
            let times = [chain.record, chain.finish, chain.submit, chain.wait, chain.total() / f64::from(chain.layers)];
            chains.add_row([chain.layers.to_string()].into_iter().chain(times.map(|time| format!("{time:.1}"))));
        }
        let longest = &self.chains[self.chains.len() - 1];
        let header = ["layer", "kernel", "ms", "with runtime checks", "with zeroed workgroup memory"];
        let mut checks = table(&header, 2..header.len());
        for layer in &self.checks {
            let times = |time: f64| format!("{time:.3} (x {:.2})", time / layer.as_planned);
            checks.add_row([
                layer.id.clone(),
                layer.kernel.clone(),
                format!("{:.3}", layer.as_planned),
                times(layer.runtime_checks),
                times(layer.zeroed_workgroup_memory),
            ]);
        }
        write!(
            f,
            "The host's microseconds, medians, for layers that compute one value each from the one before:\n\n{chains}\n\n\
             record: Bound::record. finish: wgpu checks and encodes the pass. wait: until the device is done.\n\
             One dispatch recorded: {:.3} by Bound::record, {:.3} by the same three calls of wgpu.\n\
             Bound::run, which also submits: {:.1}; without turning what the device says into errors: {:.1}.\n\n\
             Milliseconds of each layer by the caller's clock, as planned and with what is left out of its kernels:\n\n{checks}\n\n\
             runtime checks: bounds of every access, loops, divisors. zeroed workgroup memory: only a kernel \
             that has some can differ by more than the noise.",
            longest.record_each(),
            self.by_hand.record_each(),
            self.run,
            self.unguarded_run,
        )
    }
}
