// KubeEdge v1.23's own kinds that this server stores, as their CRDs say (served storage versions).
#include "kube/schema/tables.h"

namespace kubeedge::kube::schema {
namespace tables {

#define KE_DEVICES "io.kubeedge.devices.v1beta1."
#define KE_SYNCS "io.kubeedge.reliablesyncs.v1alpha1."
#define KE_RULES "io.kubeedge.rules.v1."

// x-kubernetes-preserve-unknown-fields with no field of its own.
constexpr Object OpenObject{"io.kubeedge.OpenObject", {}, true};

// --- Device
constexpr Field ModelRef_f[] = {str("name")};
constexpr Object ModelRef{KE_DEVICES "Device.spec.deviceModelRef", ModelRef_f};
constexpr Field Method_f[] = {str("description"), str("name"), str("propertyNames", Shape::kArray)};
constexpr Object Method{KE_DEVICES "Device.spec.methods", Method_f};
constexpr Field TwinValue_f[] = {str("metadata", Shape::kMap), str("value").must()};
constexpr Object TwinValue{KE_DEVICES "TwinValue", TwinValue_f};

constexpr Field TdEngineClient_f[] = {str("addr"), str("dbName")};
constexpr Object TdEngineClient{KE_DEVICES "TDEngineClientConfig", TdEngineClient_f};
constexpr Field TdEngine_f[] = {object("TDEngineClientConfig", TdEngineClient)};
constexpr Object TdEngine{KE_DEVICES "TDEngine", TdEngine_f};
constexpr Field InfluxClient_f[] = {str("bucket"), str("org"), str("url")};
constexpr Object InfluxClient{KE_DEVICES "influxdb2ClientConfig", InfluxClient_f};
constexpr Field InfluxData_f[] = {str("fieldKey"), str("measurement"), str("tag", Shape::kMap)};
constexpr Object InfluxData{KE_DEVICES "influxdb2DataConfig", InfluxData_f};
constexpr Field Influx_f[] = {object("influxdb2ClientConfig", InfluxClient), object("influxdb2DataConfig", InfluxData)};
constexpr Object Influx{KE_DEVICES "influxdb2", Influx_f};
constexpr Field MysqlClient_f[] = {str("addr"), str("database"), str("userName")};
constexpr Object MysqlClient{KE_DEVICES "mysqlClientConfig", MysqlClient_f};
constexpr Field Mysql_f[] = {object("mysqlClientConfig", MysqlClient)};
constexpr Object Mysql{KE_DEVICES "mysql", Mysql_f};
constexpr Field RedisClient_f[] = {str("addr"), integer("db"), integer("minIdleConns"), integer("poolsize")};
constexpr Object RedisClient{KE_DEVICES "redisClientConfig", RedisClient_f};
constexpr Field Redis_f[] = {object("redisClientConfig", RedisClient)};
constexpr Object Redis{KE_DEVICES "redis", Redis_f};
constexpr Field DbMethod_f[] = {object("TDEngine", TdEngine), object("influxdb2", Influx), object("mysql", Mysql), object("redis", Redis)};
constexpr Object DbMethod{KE_DEVICES "dbMethod", DbMethod_f};
constexpr Field PushHttp_f[] = {str("hostName"), integer64("port"), str("requestPath"), integer64("timeout")};
constexpr Object PushHttp{KE_DEVICES "http", PushHttp_f};
constexpr Field PushMqtt_f[] = {str("address"), integer32("qos"), boolean("retained"), str("topic")};
constexpr Object PushMqtt{KE_DEVICES "mqtt", PushMqtt_f};
constexpr Field PushOtel_f[] = {str("endpointURL")};
constexpr Object PushOtel{KE_DEVICES "otel", PushOtel_f};
constexpr Field PushMethod_f[] = {object("anomalyDetection", OpenObject), object("dbMethod", DbMethod), object("http", PushHttp),
    object("mqtt", PushMqtt), object("otel", PushOtel)};
constexpr Object PushMethod{KE_DEVICES "Device.spec.properties.pushMethod", PushMethod_f};
constexpr Field ProtocolConfig_f[] = {object("configData", OpenObject), str("protocolName")};
constexpr Object ProtocolConfig{KE_DEVICES "ProtocolConfig", ProtocolConfig_f};
constexpr Field Property_f[] = {integer64("collectCycle"), object("desired", TwinValue), str("name"), object("pushMethod", PushMethod),
    integer64("reportCycle"), boolean("reportToCloud"), object("visitors", ProtocolConfig)};
constexpr Object Property{KE_DEVICES "Device.spec.properties", Property_f};
constexpr Field StateReport_f[] = {integer64("reportCycle"), boolean("reportToCloud")};
constexpr Object StateReport{KE_DEVICES "Device.spec.stateReport", StateReport_f};
constexpr Field DeviceSpec_f[] = {object("deviceModelRef", ModelRef), objects("methods", Method), str("nodeName"),
    objects("properties", Property), object("protocol", ProtocolConfig), object("stateReport", StateReport)};
constexpr Object DeviceSpec{KE_DEVICES "Device.spec", DeviceSpec_f};
constexpr Field DeviceOwnStatus_f[] = {integer64("reportCycle"), boolean("reportToCloud")};
constexpr Object DeviceOwnStatus{KE_DEVICES "Device.status", DeviceOwnStatus_f, true};
constexpr Field Device_f[] = {str("apiVersion"), str("kind"), object("metadata", ObjectMeta), object("spec", DeviceSpec),
    object("status", DeviceOwnStatus)};
constexpr Object Device{KE_DEVICES "Device", Device_f};

// --- DeviceModel
constexpr Field ModelProperty_f[] = {str("accessMode").one_of("ReadWrite|ReadOnly"), str("description"), str("maximum"), str("minimum"),
    str("name"), str("type").one_of("INT|FLOAT|DOUBLE|STRING|BOOLEAN|BYTES|STREAM"), str("unit"), object("visitors", ProtocolConfig)};
constexpr Object ModelProperty{KE_DEVICES "DeviceModel.spec.properties", ModelProperty_f};
constexpr Field ModelSpec_f[] = {objects("properties", ModelProperty), str("protocol"), object("protocolConfigData", OpenObject)};
constexpr Object ModelSpec{KE_DEVICES "DeviceModel.spec", ModelSpec_f};
constexpr Field DeviceModel_f[] = {str("apiVersion"), str("kind"), object("metadata", ObjectMeta), object("spec", ModelSpec)};
constexpr Object DeviceModel{KE_DEVICES "DeviceModel", DeviceModel_f};

// --- DeviceStatus
constexpr Field Twin_f[] = {object("observedDesired", TwinValue), str("propertyName"), object("reported", TwinValue)};
constexpr Object Twin{KE_DEVICES "DeviceStatus.status.twins", Twin_f};
constexpr Object StatusSpec{KE_DEVICES "DeviceStatus.spec", {}};
constexpr Field StatusStatus_f[] = {object("extensions", OpenObject), str("lastOnlineTime"), str("state"), objects("twins", Twin)};
constexpr Object StatusStatus{KE_DEVICES "DeviceStatus.status", StatusStatus_f};
constexpr Field DeviceStatus_f[] = {str("apiVersion"), str("kind"), object("metadata", ObjectMeta), object("spec", StatusSpec),
    object("status", StatusStatus)};
constexpr Object DeviceStatus{KE_DEVICES "DeviceStatus", DeviceStatus_f};

// --- ObjectSync, ClusterObjectSync
constexpr Field SyncSpec_f[] = {str("objectAPIVersion"), str("objectKind"), str("objectName")};
constexpr Object SyncSpec{KE_SYNCS "ObjectSync.spec", SyncSpec_f};
constexpr Field SyncStatus_f[] = {str("objectResourceVersion")};
constexpr Object SyncStatus{KE_SYNCS "ObjectSync.status", SyncStatus_f};
constexpr Field ObjectSync_f[] = {str("apiVersion"), str("kind"), object("metadata", ObjectMeta), object("spec", SyncSpec),
    object("status", SyncStatus)};
constexpr Object ObjectSync{KE_SYNCS "ObjectSync", ObjectSync_f};
constexpr Object ClusterObjectSync{KE_SYNCS "ClusterObjectSync", ObjectSync_f};

// --- Rule, RuleEndpoint
constexpr Field RuleSpec_f[] = {str("source").must(), str("sourceResource", Shape::kMap).must(), str("target").must(),
    str("targetResource", Shape::kMap).must()};
constexpr Object RuleSpec{KE_RULES "Rule.spec", RuleSpec_f};
constexpr Field RuleStatus_f[] = {str("errors", Shape::kArray), integer("failMessages"), integer("successMessages")};
constexpr Object RuleStatus{KE_RULES "Rule.status", RuleStatus_f};
constexpr Field Rule_f[] = {str("apiVersion"), str("kind"), object("metadata", ObjectMeta), object("spec", RuleSpec),
    object("status", RuleStatus)};
constexpr Object Rule{KE_RULES "Rule", Rule_f};
constexpr Field EndpointSpec_f[] = {str("properties", Shape::kMap), str("ruleEndpointType").must().one_of("rest|eventbus|servicebus")};
constexpr Object EndpointSpec{KE_RULES "RuleEndpoint.spec", EndpointSpec_f};
constexpr Field RuleEndpoint_f[] = {str("apiVersion"), str("kind"), object("metadata", ObjectMeta), object("spec", EndpointSpec)};
constexpr Object RuleEndpoint{KE_RULES "RuleEndpoint", RuleEndpoint_f};

#undef KE_DEVICES
#undef KE_SYNCS
#undef KE_RULES

constexpr std::string_view RuleEndpoint_short[] = {"re"};

constexpr Kind kCustom[] = {
    {"devices.kubeedge.io", "v1beta1", "Device", "devices", "device", {}, true, false, true, &Device},
    {"devices.kubeedge.io", "v1beta1", "DeviceModel", "devicemodels", "devicemodel", {}, true, false, true, &DeviceModel},
    {"devices.kubeedge.io", "v1beta1", "DeviceStatus", "devicestatuses", "devicestatus", {}, true, false, true, &DeviceStatus},
    {"reliablesyncs.kubeedge.io", "v1alpha1", "ObjectSync", "objectsyncs", "objectsync", {}, true, true, true, &ObjectSync},
    {"reliablesyncs.kubeedge.io", "v1alpha1", "ClusterObjectSync", "clusterobjectsyncs", "clusterobjectsync", {}, false, true, true,
     &ClusterObjectSync},
    {"rules.kubeedge.io", "v1", "Rule", "rules", "rule", {}, true, false, true, &Rule},
    {"rules.kubeedge.io", "v1", "RuleEndpoint", "ruleendpoints", "ruleendpoint", RuleEndpoint_short, true, false, true, &RuleEndpoint},
};

}  // namespace tables

std::span<const Kind> custom_kinds() { return tables::kCustom; }

}  // namespace kubeedge::kube::schema
