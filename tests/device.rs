mod common;
use common::*;
use sepconv::*;
use std::time::Instant;

#[test]
fn probe() {
    for own in [true, false] {
        let context = if own { Context::new_blocking().unwrap() } else {
            let (d, q) = foreign_device(|_| ()).unwrap(); Context::from_wgpu(d, q).unwrap() };
        let layer = Conv2d::new(1, 1, 3).padding(1).bias(false);
        let plan = layer.plan(&context, [1,1,4,4]).unwrap();
        let x = Tensor::zeros(&context, [1,1,4,4]).unwrap();
        let w = Tensor::zeros(&context, [1,1,3,3]).unwrap();
        let y = Tensor::zeros(&context, [1,1,4,4]).unwrap();
        let bound = plan.bind(Operands::new(&x,&w,&y)).unwrap();
        context.device().destroy();
        println!("own {own}; lost after destroy: {:?}", context.lost());
        println!("poll {:?} {:?}", context.device().poll(wgpu::PollType::Poll), context.lost());
        println!("zeros {:?}", Tensor::zeros(&context, [1,1,4,4]).map(|_| ()));
        println!("plan {:?}", layer.stride(2).plan(&context, [1,1,4,4]).map(|_| ()));
        println!("run {:?}", bound.run());
        println!("lost: {:?}", context.lost());
        println!("bind {:?}", plan.bind(Operands::new(&x,&w,&y)).map(|_| ()));
        println!("lost: {:?}", context.lost());
        let t=Instant::now();
        println!("read {:?} {:?}", y.read_blocking(&context), t.elapsed());
        println!("from_slice {:?}", Tensor::from_slice(&context, [1,1,4,4], &[0.0;16]).map(|_| ()));
        println!("zeros {:?}", Tensor::zeros(&context, [1,1,4,4]).map(|_| ()));
        println!("lost: {:?}", context.lost());
    }
}

#[test]
fn oom() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds { for_resource_creation: Some(0), for_device_loss: None },
        ..wgpu::InstanceDescriptor::new_without_display_handle() });
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    for a in &adapters { println!("{:?}", a.get_info()); }
    let a = adapters.iter().find(|a| a.get_info().backend == wgpu::Backend::Vulkan).unwrap();
    let c = pollster::block_on(Context::from_adapter(a));
    match c { Err(e) => println!("open: {e}"), Ok(c) => {
      println!("max {}", c.limits().max_buffer_size);
      println!("{:?}", Tensor::zeros(&c, [1,1,1024,1024]).map(|_|()));
      println!("{:?}", Tensor::from_slice(&c, [1,1,2,2], &[0.0;4]).map(|_|()));
      println!("{:?}", c.lost());
    } }
    let c = common::context().unwrap();
    println!("max {}", c.limits().max_buffer_size);
    let side = ((c.limits().max_buffer_size/4) as f64).sqrt() as u32;
    println!("huge {:?}", Tensor::zeros(c, [1,1,side,side]).map(|_|()));
    println!("still {:?}", Tensor::zeros(c, [1,1,4,4]).map(|_|()));
}

#[test]
fn other() {
    let a = Context::new_blocking().unwrap();
    let b = Context::new_blocking().unwrap();
    let layer = Conv2d::new(1, 1, 3).padding(1).bias(false);
    let plan = layer.plan(&a, [1,1,4,4]).unwrap();
    let t = |c: &Context| Tensor::zeros(c, [1,1,4,4]).unwrap();
    let w = Tensor::zeros(&a, [1,1,3,3]).unwrap();
    let _ = t(&a);
    let x = t(&b);
    let y = t(&a);
    println!("{:?}", std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plan.bind(Operands::new(&x,&w,&y)).map(|_| ())));
    println!("{:?}", std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| x.read_blocking(&a)));
}
