use super::*;
pub struct D1Log;
pub struct ObjectLog(MemoryLog);
pub enum WorkerLog {
    D1(D1Log),
    Object(ObjectLog),
}
impl D1Log {
    pub async fn open(_: worker::D1Database, _: &str, _: &str, _: Option<&str>) -> Result<Self, LogError> {
        Ok(D1Log)
    }
}
impl ObjectLog {
    pub fn open(_: worker::Storage, _: &str, _: &str) -> Result<Self, LogError> {
        Ok(ObjectLog(MemoryLog::new("stubstubstubstubstub1")))
    }
}
pub fn reference_backend_id(_: &worker::Storage, _: &str) -> Option<String> {
    None
}
impl EventLog for WorkerLog {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        self.m().backend_id().await
    }
    async fn tip(&self) -> Result<Tip, LogError> {
        self.m().tip().await
    }
    async fn append(&self, a: Tip, b: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        self.m().append(a, b).await
    }
    async fn read(&self, a: SeqNum, b: ItemFormat) -> Result<Page, LogError> {
        self.m().read(a, b).await
    }
    async fn events(&self, a: SeqNum, b: SeqNum, c: u32) -> Result<Vec<PulledEvent>, LogError> {
        self.m().events(a, b, c).await
    }
    async fn count(&self, a: SeqNum) -> Result<u64, LogError> {
        self.m().count(a).await
    }
}
impl WorkerLog {
    fn m(&self) -> &MemoryLog {
        match self {
            Self::Object(o) => &o.0,
            Self::D1(_) => panic!(),
        }
    }
}
